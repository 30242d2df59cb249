"""A consumer that nobody here wrote: websocket-client as it is, and cbor2 for the frames."""

from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cbor2
import gevent
import websocket

WAIT_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Received:
    """One frame. `kind`: `#commit` … or `error`."""

    kind: str
    body: dict[str, Any]

    @property
    def seq(self) -> int:
        return int(self.body["seq"])

    @property
    def did(self) -> str:
        return str(self.body.get("did") or self.body.get("repo"))

    @property
    def identity(self) -> tuple[str, str, str]:
        """What tells events of these tests apart."""
        return self.kind, self.did, str(self.body.get("rev", ""))


def decode(wire: bytes) -> Received:
    decoder = cbor2.CBORDecoder(BytesIO(wire))
    header, body = decoder.decode(), decoder.decode()
    return Received(header.get("t", "error"), body)


class TestConsumer:
    """One connection to the firehose."""

    __test__ = False

    def __init__(self, url: str, cursor: int | None = None) -> None:
        query = "" if cursor is None else f"?cursor={cursor}"
        self.socket = websocket.create_connection(url + query, timeout=WAIT_S_MAX)

    def next(self) -> Received:
        """The next frame. Raises WebSocketException or a timeout."""
        data = self.socket.recv()
        if not data:
            raise websocket.WebSocketConnectionClosedException("closed")
        assert isinstance(data, bytes), f"not a binary frame: {data!r}"
        return decode(data)

    def take(self, count: int) -> list[Received]:
        with gevent.Timeout(WAIT_S_MAX):
            return [self.next() for _ in range(count)]

    def rest(self) -> list[Received]:
        """What still comes before the relay closes the connection."""
        events = []
        with suppress(websocket.WebSocketConnectionClosedException):
            while True:
                events.append(self.next())
        return events

    def close(self) -> None:
        self.socket.close()
        self.socket.shutdown()  # type: ignore[no-untyped-call]  # which also frees a socket that the other side has closed
