"""Records a firehose as it is, frame by frame, decoded by a codec that the relay does not use for it."""

import threading
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import cbor2
import websocket


@dataclass(frozen=True, slots=True)
class Event:
    """One frame. `body` without its seq; `seq` apart."""

    kind: str
    seq: int
    did: str
    body: dict[str, Any]

    @property
    def rev(self) -> str:
        return str(self.body.get("rev", ""))

    def key(self) -> bytes:
        """What must come out of the relay as it went in: all but the seq, and the handle, which relays strip."""
        kept = {name: value for name, value in self.body.items() if name != "handle"}
        return self.kind.encode() + cbor2.dumps(kept, canonical=True)


def decode(frame: bytes) -> Event | None:
    """None for frames without a seq (`#info`, errors)."""
    stream = BytesIO(frame)
    decoder = cbor2.CBORDecoder(stream)
    header, body = decoder.decode(), decoder.decode()
    if header.get("op") != 1 or "seq" not in body:
        return None
    seq = body.pop("seq")
    return Event(header["t"], seq, body.get("did") or body.get("repo"), body)


@dataclass
class Recorder:
    """One connection from `cursor` 0 on, read by a thread of its own."""

    url: str
    cursor: int | None = 0
    events: list[Event] = field(default_factory=list)
    grown: threading.Condition = field(default_factory=threading.Condition)
    ended: str = ""

    def start(self) -> "Recorder":
        query = "" if self.cursor is None else f"?cursor={self.cursor}"
        address = f"{self.url.replace('http', 'ws', 1)}/xrpc/com.atproto.sync.subscribeRepos{query}"
        self._socket = websocket.create_connection(address, timeout=None)
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def stop(self) -> None:
        self._socket.close()

    def wait(self, done: Any, timeout_s: float) -> bool:
        """Until `done(events)`."""
        with self.grown:
            return bool(self.grown.wait_for(lambda: done(self.events) or self.ended, timeout_s)) and not self.ended

    def _run(self) -> None:
        try:
            while True:
                frame = self._socket.recv()
                if not isinstance(frame, bytes) or not frame:
                    break
                event = decode(frame)
                with self.grown:
                    if event is not None:
                        self.events.append(event)
                    self.grown.notify_all()
        except (OSError, websocket.WebSocketException) as error:
            self.ended = repr(error)
        with self.grown:
            self.ended = self.ended or "closed"
            self.grown.notify_all()
