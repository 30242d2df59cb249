"""All consumers: who is connected, and telling them to go."""

from collections.abc import Callable, Iterator
from itertools import count

from zlay_py.clock import Clock
from zlay_py.errors import CorruptionError
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.tail import Tail
from zlay_py.fanout.consumer import Consumer
from zlay_py.logs import get_logger
from zlay_py.net.websocket_frames import CloseCode
from zlay_py.net.websocket_server import ServerWebSocket, WebSocketClosedError

log = get_logger(__name__)

USER_AGENT_CHARS_MAX = 200


def log_corruption(reader: str, error: BaseException) -> None:
    """What is done about a damaged log where nobody else decides."""
    log.critical("the event log is damaged", reader=reader, error=str(error))


class Broadcaster:
    """Serves a consumer in the greenlet that calls `serve`.

    `on_corruption` is told who met a damaged log and what was found (file, offset, what to do), after that consumer
    was told to go. It decides whether the process goes on, and it is the one that logs.
    """

    def __init__(
        self,
        event_log: EventLog,
        tail: Tail,
        clock: Clock,
        *,
        on_corruption: Callable[[str, BaseException], None] = log_corruption,
    ) -> None:
        self.closing = False
        self._log = event_log
        self._tail = tail
        self._clock = clock
        self._on_corruption = on_corruption
        self._ids = count(1)
        self._consumers: dict[int, Consumer] = {}

    def __len__(self) -> int:
        return len(self._consumers)

    def __iter__(self) -> Iterator[Consumer]:
        return iter(list(self._consumers.values()))

    def serve(self, socket: ServerWebSocket, cursor: int | None, *, remote: str, user_agent: str) -> None:
        """Returns when the connection is over. A peer that goes away is no error."""
        if self.closing:
            socket.close(CloseCode.SERVICE_RESTART, "restarting")
            return
        consumer = Consumer(
            self._log,
            self._tail,
            self._clock,
            socket,
            id=next(self._ids),
            remote=remote,
            user_agent=user_agent[:USER_AGENT_CHARS_MAX],
            connected_us=self._clock.now_us(),
            cursor=cursor,
        )
        self._consumers[consumer.id] = consumer
        log.info("consumer connected", consumer=consumer.id, remote=remote, cursor=cursor, agent=consumer.user_agent)
        try:
            consumer.run()
        except WebSocketClosedError as error:
            log.debug("consumer connection ended", consumer=consumer.id, detail=str(error))
        except CorruptionError as error:
            socket.begin_close(CloseCode.INTERNAL_ERROR, "the relay failed")
            self._on_corruption(f"consumer {consumer.id}", error)
        finally:
            del self._consumers[consumer.id]
            log.info("consumer left", consumer=consumer.id, frames=consumer.frames_sent, bytes=consumer.bytes_sent)

    def close_all(self) -> None:
        """Tells every consumer to come back later: the close code that makes clients reconnect."""
        self.closing = True
        for consumer in self:
            consumer.socket.begin_close(CloseCode.SERVICE_RESTART, "restarting")
