"""The web server that a did:web names: one document, under the address that the specification gives it."""

import json

from tools.simulator.servers.documents import web_did
from tools.simulator.servers.server import Answer, Request, Server, json_answer

PATH = "/.well-known/did.json"


class WebDidServer(Server):
    """`document` None: 404, as for a DID that is no more. Without TLS: the DID is one of localhost."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.document: dict[str, object] | None = None

    @property
    def did(self) -> str:
        return web_did(self.port)

    def answer(self, request: Request) -> Answer:
        if request.path != PATH or self.document is None:
            return json_answer(404, {"message": "no document"})
        return Answer(200, json.dumps(self.document).encode())
