"""A consumer of the relay's firehose: websocket-client and libipld, as anybody would; nothing of the relay's code."""

import threading
from collections import deque
from typing import Any

import libipld
import websocket

from tools.demo.snapshot import EventLine
from tools.simulator.oracle.normalise import peek
from tools.simulator.oracle.readings import Received, Session

SHOWN_MAX = 100
"""Events that are kept for the screen: more than any terminal has lines for."""
CONNECT_S_MAX = 10.0


def read(wire: bytes) -> EventLine | None:
    """What the screen says of a frame; None for those without a seq (`#info`, errors)."""
    header, body = libipld.decode_dag_cbor_multi(wire)
    if header.get("op") != 1 or "seq" not in body:
        return None
    kind = str(header["t"])
    ops = tuple((str(op["action"]), str(op["path"])) for op in body.get("ops", ()))
    return EventLine(body["seq"], kind, str(body.get("did") or body.get("repo")), ops, _note(kind, body), len(wire))


def _note(kind: str, body: dict[str, Any]) -> str:
    match kind:
        case "#account":
            return "active" if body.get("active") else f"no longer active: {body.get('status', 'no reason given')}"
        case "#identity":
            return "the DID document has to be asked for anew"
        case "#sync":
            return f"the repo is at {body.get('rev')}"
        case _:
            return ""


class Consumer:
    """One connection, read by a thread. `ended`: why it is over, empty while it is not."""

    def __init__(self, url: str, cursor: int) -> None:
        self.received = Session(cursor=cursor)
        """Every message as it came, for the judge."""
        self.shown: deque[EventLine] = deque(maxlen=SHOWN_MAX)
        self.count = 0
        self.last_seq = 0
        self.ended = ""
        self._socket = websocket.create_connection(f"{url}?cursor={cursor}", timeout=CONNECT_S_MAX)
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Returns when the thread is done."""
        self._socket.abort()  # type: ignore[no-untyped-call]
        self._thread.join(CONNECT_S_MAX)
        self._socket.shutdown()  # type: ignore[no-untyped-call]  # frees the socket

    def _run(self) -> None:
        try:
            while True:
                wire = self._socket.recv()
                if not isinstance(wire, bytes) or not wire:
                    break
                self._take(wire)
        except (OSError, ValueError, KeyError, TypeError, websocket.WebSocketException) as error:  # or no event at all
            self.ended = str(error) or repr(error)
        self.ended = self.ended or "the relay has closed the connection"

    def _take(self, wire: bytes) -> None:
        kind, seq = peek(wire)
        self.received.append(Received(seq, kind, wire))
        line = read(wire)
        if line is not None:
            self.shown.append(line)
            self.last_seq = line.seq
            self.count += 1
