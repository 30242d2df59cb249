"""From the tail to the sockets of N consumers: the real server, WebSockets, broadcaster and consumers in this process,
the reading ends in another. What publishing costs without anybody connected is taken off.

The cost depends on how many events a wake-up finds: one where events come one by one, a dozen (64 KiB) and more where a
group commit brings many or a consumer is behind. So it is measured for several.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, NamedTuple
from zlib import crc32

import gevent

from tools.bench.child import Child
from tools.bench.measure import folder_in_memory, least_us, rounded
from zlay_py.clock import SystemClock
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import RecordKind
from zlay_py.eventlog.tail import Tail
from zlay_py.eventlog.wire import websocket_frame
from zlay_py.fanout.broadcaster import Broadcaster
from zlay_py.net.http_server import HttpServer
from zlay_py.net.websocket_handshake import WebSocketRunner
from zlay_py.net.websocket_server import ServerWebSocket

WINDOW_BYTES = 512 * 1024
"""After so many bytes publishing waits until every consumer has them: the live edge, and less than a socket holds."""

WAIT_S_MAX = 120.0


class Load(NamedTuple):
    """`deliveries`: frames sent to all consumers together, about."""

    consumers: tuple[int, ...]
    batches: tuple[int, ...]
    deliveries: int


def measure(payloads: list[bytes], load: Load, rounds: int) -> dict[str, object]:
    """µs of CPU per event and consumer, by the number of consumers and of events published at once."""
    found: dict[str, object] = {"bytes_mean": round(sum(map(len, payloads)) / len(payloads))}
    for batch in load.batches:
        for consumers in load.consumers:
            count = max(4 * batch, load.deliveries // consumers)
            frames = [websocket_frame(RecordKind.COMMIT, payloads[at % len(payloads)]) for at in range(count)]
            alone = min(round_us(frames, 0, batch) for _ in range(rounds))
            served = min(round_us(frames, consumers, batch) for _ in range(rounds))
            found[f"{consumers} consumers, {batch} at once"] = rounded((served - alone) / consumers)
    return found


class _Application:
    """Every path is the firehose."""

    def __init__(self, broadcaster: Broadcaster) -> None:
        self._broadcaster = broadcaster

    def __call__(self, _environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("404 Not Found", [])
        return []

    def upgrade_gate(self, environ: dict[str, Any]) -> WebSocketRunner:
        remote = str(environ.get("REMOTE_ADDR", ""))

        def run(websocket: ServerWebSocket) -> None:
            self._broadcaster.serve(websocket, None, remote=remote, user_agent="bench")

        return run


def round_us(frames: list[bytes], consumers: int, batch: int, expected: list[bytes] | None = None) -> float:
    """µs per event for all consumers together. Fails unless each has received `expected`, which is what was sent."""
    with ExitStack() as stack, gevent.Timeout(WAIT_S_MAX):
        tail = Tail()
        folder = stack.enter_context(folder_in_memory())
        log = EventLog(folder, durability=Durability.FLUSH, clock=SystemClock(), tail=tail)
        log.open()
        stack.callback(log.close)
        server = HttpServer(("127.0.0.1", 0), _Application(Broadcaster(log, tail, SystemClock())))
        server.start()
        stack.callback(server.stop, timeout=1)
        if not consumers:
            return least_us(lambda: _publish(tail, frames, batch, None), len(frames), 1)
        total = sum(map(len, frames))
        readers = stack.enter_context(Child("tools.bench.sink", server.server_port, consumers, WINDOW_BYTES, total))
        readers.expect("ready")
        cost = least_us(lambda: _publish(tail, frames, batch, readers), len(frames), 1)
        checksums = json.loads(readers.line())
        assert checksums == [crc32(b"".join(expected or frames))] * consumers, "something else was received"
        return cost


def _publish(tail: Tail, frames: list[bytes], batch: int, readers: Child | None) -> None:
    """As the log does after each group commit."""
    published, acknowledged = 0, WINDOW_BYTES
    total = sum(map(len, frames))
    for first in range(0, len(frames), batch):
        piece = frames[first : first + batch]
        seq = first + 1
        tail.publish(list(enumerate(piece, seq)), seq + len(piece) - 1)
        gevent.sleep(0)
        published += sum(map(len, piece))
        while readers is not None and published >= acknowledged and acknowledged < total:
            readers.expect("ack")
            acknowledged += WINDOW_BYTES
