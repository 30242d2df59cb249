import socket
from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event

from tests.support.net_clients import (
    LONG_S,
    MESSAGE_BYTES_MAX,
    SOON_S,
    HandClock,
    Subscribe,
    receive_failure,
)
from tests.support.net_servers import (
    accept_upgrade,
    hold,
    reached,
    read_client_frame,
    server_frame,
    serving,
    streaming,
    wait_for_end,
)
from tests.support.net_tls import TestAuthority
from zlay_py.errors import NetError
from zlay_py.net.failures import FailureKind
from zlay_py.net.websocket_client import CONTROLS_MAX, CONTROLS_WINDOW_S, MESSAGE_S_MAX, WebSocketConnection
from zlay_py.net.websocket_frames import close_payload

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class CountingSocket:
    """A socket that counts reads."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.reads = 0

    def recv(self, size: int) -> bytes:
        self.reads += 1
        return self._sock.recv(size)

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


@pytest.fixture(name="pair")
def _pair() -> Iterator[tuple[CountingSocket, socket.socket]]:
    """Our end, counted, and the host's."""
    ours, theirs = socket.socketpair()
    yield CountingSocket(ours), theirs
    ours.close()
    theirs.close()


def over(sock: CountingSocket, **changes: object) -> WebSocketConnection:
    settings: dict[str, object] = {"message_bytes_max": MESSAGE_BYTES_MAX, **changes}
    return WebSocketConnection(sock, {}, **settings)  # type: ignore[arg-type]


Pair = tuple[CountingSocket, socket.socket]


def test_many_messages_of_one_read_take_one_read(pair: Pair) -> None:
    ours, theirs = pair
    messages = [bytes([index]) * 100 for index in range(200)]
    theirs.sendall(b"".join(server_frame(BINARY, message) for message in messages))
    connection = over(ours)
    assert [connection.receive(LONG_S) for _ in messages] == messages
    assert ours.reads == 1


@pytest.mark.parametrize("pieces", [1, 2, 77])
def test_five_megabytes_in_fragments_with_a_ping_between_them(subscribe: Subscribe, pieces: int) -> None:
    message = bytes(range(250)) * 20_000
    assert len(message) == MESSAGE_BYTES_MAX
    size = -(-len(message) // pieces)
    parts = [message[start : start + size] for start in range(0, len(message), size)]
    pongs: list[tuple[int, bytes]] = []

    def handler(connection: socket.socket) -> None:
        accept_upgrade(connection)
        for index, part in enumerate(parts):
            opcode = BINARY if index == 0 else CONTINUATION
            connection.sendall(server_frame(opcode, part, fin=index == len(parts) - 1))
            connection.sendall(server_frame(PING, b"are you there"))
            pongs.append(read_client_frame(connection))
        connection.sendall(server_frame(BINARY, b"next"))
        hold(connection)

    with serving(handler) as server:
        connection = subscribe(server)
        assert connection.receive(LONG_S) == message
        assert connection.receive(LONG_S) == b"next"
    assert pongs == [(PONG, b"are you there")] * len(parts)


def test_one_byte_more_is_too_large_and_said_so_before_it_came(subscribe: Subscribe) -> None:
    seen: list[tuple[int, bytes]] = []

    def handler(connection: socket.socket) -> None:
        accept_upgrade(connection)
        connection.sendall(server_frame(BINARY, b"fine") + b"\x82\x7f" + (MESSAGE_BYTES_MAX + 1).to_bytes(8, "big"))
        seen.append(read_client_frame(connection))

    with serving(handler) as server:
        connection = subscribe(server)
        assert connection.receive(LONG_S) == b"fine"
        assert receive_failure(connection) == FailureKind.TOO_LARGE
        assert connection.closed
        server.ended.get(timeout=LONG_S)
    assert seen == [(CLOSE, close_payload(1009))]


@pytest.mark.parametrize(
    ("frame", "kind", "code"),
    [
        (server_frame(TEXT, b"hello"), FailureKind.TEXT_FRAME, 1003),
        (server_frame(BINARY, b"x", masked=True), FailureKind.PROTOCOL, 1002),
        (server_frame(BINARY, b"x", reserved=4), FailureKind.PROTOCOL, 1002),
        (server_frame(CONTINUATION, b"x"), FailureKind.PROTOCOL, 1002),
        (server_frame(CLOSE, b"\x03"), FailureKind.PROTOCOL, 1002),
        (b"HTTP/1.1 200 OK\r\n\r\n", FailureKind.PROTOCOL, 1002),
    ],
)
def test_broken_frames_end_the_connection(subscribe: Subscribe, frame: bytes, kind: FailureKind, code: int) -> None:
    seen: list[tuple[int, bytes]] = []
    with serving(streaming(frame, then=lambda connection: seen.append(read_client_frame(connection)))) as server:
        connection = subscribe(server)
        assert receive_failure(connection) == kind
        assert receive_failure(connection) in (kind, FailureKind.CLOSED), "and it stays so"
        server.ended.get(timeout=LONG_S)
    assert seen == [(CLOSE, close_payload(code))]


def test_the_close_frame_of_the_host_is_shown_and_answered(subscribe: Subscribe) -> None:
    seen: list[tuple[int, bytes]] = []
    stream = server_frame(BINARY, b"last") + server_frame(CLOSE, close_payload(1008, "FutureCursor"))
    with serving(streaming(stream, then=lambda connection: seen.append(read_client_frame(connection)))) as server:
        connection = subscribe(server)
        assert connection.receive(LONG_S) == b"last"
        with pytest.raises(NetError, match="1008 FutureCursor") as caught:
            connection.receive(LONG_S)
        assert caught.value.kind == FailureKind.CLOSED
        assert (connection.close_code, connection.close_reason) == (1008, "FutureCursor")
        assert connection.closed
        server.ended.get(timeout=LONG_S)
    assert seen == [(CLOSE, close_payload(1000))]


@pytest.mark.parametrize("tail", [b"", server_frame(BINARY, b"cut off")[:-1]])
def test_an_end_without_a_close_frame(subscribe: Subscribe, tail: bytes) -> None:
    with serving(streaming(server_frame(BINARY, b"one") + tail, then=lambda _connection: None)) as server:
        connection = subscribe(server)
        assert connection.receive(LONG_S) == b"one"
        assert receive_failure(connection) == FailureKind.CLOSED
        assert connection.close_code is None


def test_only_the_latest_ping_of_a_read_is_answered(pair: Pair) -> None:
    ours, theirs = pair
    pings = b"".join(server_frame(PING, str(index).encode()) for index in range(100))
    theirs.sendall(pings + server_frame(PONG, b"not asked for") + server_frame(BINARY, b"message"))
    connection = over(ours)
    assert connection.receive(LONG_S) == b"message"
    assert read_client_frame(theirs) == (PONG, b"99")
    connection.close()
    assert read_client_frame(theirs)[0] == CLOSE


def test_a_flood_of_control_frames_ends_the_connection(pair: Pair) -> None:
    ours, theirs = pair
    clock = HandClock()
    connection = over(ours, clock=clock)
    for _ in range(3):  # so many are fine, if there is time between them
        theirs.sendall(server_frame(PONG) * CONTROLS_MAX + server_frame(BINARY, b"x"))
        assert connection.receive(LONG_S) == b"x"
        clock.now_s += CONTROLS_WINDOW_S
    theirs.sendall(server_frame(PONG) * (CONTROLS_MAX + 1))
    assert receive_failure(connection) == FailureKind.PROTOCOL


# --- silence ---


def test_silence_does_not_end_the_connection_not_even_inside_a_message(subscribe: Subscribe) -> None:
    go_on = Event()
    frame = server_frame(BINARY, b"in two parts")

    def handler(connection: socket.socket) -> None:
        accept_upgrade(connection)
        connection.sendall(frame[:5])
        go_on.wait(LONG_S)
        connection.sendall(frame[5:])
        hold(connection)

    with serving(handler) as server:
        connection = subscribe(server)
        for _ in range(2):
            assert receive_failure(connection, SOON_S) == FailureKind.TIMEOUT
        assert not connection.closed
        go_on.set()
        assert connection.receive(LONG_S) == b"in two parts"


def test_a_ping_counts_as_unanswered_until_anything_arrives(subscribe: Subscribe) -> None:
    def handler(connection: socket.socket) -> None:
        accept_upgrade(connection)
        opcode, payload = read_client_frame(connection)
        connection.sendall(server_frame(PONG, payload) + server_frame(BINARY, bytes([opcode])))
        hold(connection)

    with serving(handler) as server:
        connection = subscribe(server)
        connection.ping(b"hello")
        assert connection.unanswered_pings == 1
        assert connection.receive(LONG_S) == bytes([PING])
        assert connection.unanswered_pings == 0


def test_a_host_without_events_that_answers_pings_stays_connected(subscribe: Subscribe) -> None:
    def handler(connection: socket.socket) -> None:
        accept_upgrade(connection)
        for _ in range(3):
            opcode, payload = read_client_frame(connection)
            assert opcode == PING
            connection.sendall(server_frame(PONG, payload))
        connection.sendall(server_frame(BINARY, b"at last"))
        hold(connection)

    with serving(handler) as server:
        assert subscribe(server).receive_kept_alive(SOON_S) == b"at last"


def test_a_host_that_does_not_answer_a_ping_is_dead(subscribe: Subscribe) -> None:
    with serving(streaming(b"")) as server, pytest.raises(NetError) as caught:
        subscribe(server).receive_kept_alive(SOON_S)
    assert caught.value.kind == FailureKind.TIMEOUT


def test_a_message_that_takes_too_long_ends_the_connection(pair: Pair) -> None:
    ours, theirs = pair
    clock = HandClock()
    connection = over(ours, clock=clock)
    theirs.sendall(server_frame(BINARY, b"slow")[:3])
    assert receive_failure(connection, SOON_S) == FailureKind.TIMEOUT
    clock.now_s += MESSAGE_S_MAX - SOON_S / 5
    assert receive_failure(connection) == FailureKind.STALLED
    assert connection.closed


def test_the_time_for_a_message_starts_with_each_message(pair: Pair) -> None:
    ours, theirs = pair
    clock = HandClock()
    connection = over(ours, clock=clock)
    frame = server_frame(BINARY, b"slow")
    for _ in range(3):
        theirs.sendall(frame[:3])
        assert receive_failure(connection, SOON_S) == FailureKind.TIMEOUT
        clock.now_s += MESSAGE_S_MAX * 0.9
        theirs.sendall(frame[3:])
        assert connection.receive(LONG_S) == b"slow"


def test_a_peer_that_does_not_read_ends_the_connection(pair: Pair) -> None:
    ours, theirs = pair
    connection = over(ours, write_s_max=SOON_S)

    def ping_on() -> None:
        for _ in range(1_000_000):
            connection.ping(bytes(125))

    with pytest.raises(NetError) as caught:
        ping_on()
    assert caught.value.kind == FailureKind.STALLED
    assert connection.closed
    assert theirs.recv(2)[0] == 0x80 | PING


def test_the_kernels_timeout_is_an_end_and_no_silence(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _theirs = pair

    def lost(_size: int) -> bytes:
        raise TimeoutError(110, "Connection timed out")

    monkeypatch.setattr(ours, "recv", lost)
    connection = over(ours)
    assert receive_failure(connection) == FailureKind.CLOSED
    assert connection.closed


# --- other greenlets ---


def test_close_frees_the_greenlet_that_receives(subscribe: Subscribe, authority: TestAuthority) -> None:
    for scheme, tls in (("ws", None), ("wss", authority.server_context("localhost"))):
        seen: list[bytes] = []
        accepted = Event()

        def handler(connection: socket.socket, seen: list[bytes] = seen, accepted: Event = accepted) -> None:
            accept_upgrade(connection)
            accepted.set()
            seen.append(wait_for_end(connection))

        with serving(handler, tls=tls) as server:
            connection = subscribe(server, scheme=scheme)
            receiving = gevent.spawn(receive_failure, connection)
            reached(accepted)
            gevent.idle()
            connection.close(1000, "bye")
            connection.close()
            assert receiving.get(timeout=LONG_S) == FailureKind.CLOSED
            assert receive_failure(connection) == FailureKind.CLOSED
            with pytest.raises(NetError):
                connection.ping()
            server.ended.get(timeout=LONG_S)
        assert seen[0][:2] == bytes((0x88, 0x85)), "one close frame, masked"
        assert len(seen[0]) == 11


def test_a_killed_receiver_leaves_by_its_own_exception(subscribe: Subscribe) -> None:
    with serving(streaming(b"")) as server:
        connection = subscribe(server)
        receiving = gevent.spawn(connection.receive, LONG_S)
        gevent.idle()
        receiving.kill()
        outcome: object = receiving.value
        assert isinstance(outcome, gevent.GreenletExit)
        assert not connection.closed


def test_another_timeout_passes_through(subscribe: Subscribe) -> None:
    with serving(streaming(b"")) as server:
        connection = subscribe(server)
        with pytest.raises(gevent.Timeout), gevent.Timeout(SOON_S):
            connection.receive(LONG_S)


class EndlessSocket:
    """Has the same bytes ready whenever it is asked: recv never waits, so it never lets others run."""

    def __init__(self, first: bytes, then: bytes) -> None:
        self._first = first
        self._then = then

    def recv(self, _size: int) -> bytes:
        data, self._first = self._first, b""
        return data or self._then

    def sendall(self, data: bytes) -> None:
        pass

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("piece", [server_frame(CONTINUATION, b"x", fin=False) * 100, server_frame(PING) * 100])
def test_pieces_without_end_keep_nobody_else_from_running(piece: bytes) -> None:
    sock: object = EndlessSocket(server_frame(BINARY, b"", fin=False), piece)
    connection = WebSocketConnection(sock, {}, message_bytes_max=MESSAGE_BYTES_MAX)  # type: ignore[arg-type]
    ran = Event()
    gevent.spawn(ran.set)
    assert receive_failure(connection) == FailureKind.PROTOCOL
    assert ran.is_set()
