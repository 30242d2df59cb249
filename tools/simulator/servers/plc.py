"""The PLC directory: documents by DID, under the HTTP interface of plc.directory."""

import json
from collections import Counter
from typing import Final

from gevent import socket as gsocket

from tools.simulator.servers.server import ADDRESS, Answer, Request, Server, json_answer

DOCUMENT_TYPE: Final = "application/did+ld+json; charset=utf-8"


class PlcServer(Server):
    """`documents`: None for a DID that is tombstoned. All faults that requests can have."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.documents: dict[str, dict[str, object] | None] = {}
        self.asked: Counter[str] = Counter()
        """How often each DID was asked for, also where the answer was a fault."""

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.port}"

    def _answer_or_fail(self, sock: gsocket.socket, request: Request) -> Answer:
        self.asked[request.path.removeprefix("/")] += 1
        return super()._answer_or_fail(sock, request)

    def answer(self, request: Request) -> Answer:
        did = request.path.removeprefix("/")
        if request.method != "GET":
            return json_answer(405, {"message": "only GET here"})
        if did == "_health":
            return json_answer(200, {"version": "simulator"})
        if did not in self.documents:
            return json_answer(404, {"message": f"DID not registered: {did}"})
        document = self.documents[did]
        if document is None:
            return json_answer(410, {"message": f"DID not available: {did}"})
        return Answer(200, json.dumps(document).encode(), DOCUMENT_TYPE)
