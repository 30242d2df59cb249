import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.net_servers import server_frame
from zlay_py.errors import NetError
from zlay_py.net.failures import FailureKind
from zlay_py.net.websocket_frames import CONTROL_PAYLOAD_BYTES_MAX, Control, Opcode, close_payload
from zlay_py.net.websocket_reader import FRAGMENTS_MAX, FrameReader, encode_control, parse_close

BYTES_MAX = 100_000
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
Item = bytes | Control


def read_all(reader: FrameReader, data: bytes) -> list[Item]:
    reader.feed(data)
    items: list[Item] = []
    while (item := reader.next()) is not None:
        items.append(item)
    return items


def failure_of(data: bytes, bytes_max: int = BYTES_MAX) -> str:
    reader = FrameReader(bytes_max)
    with pytest.raises(NetError) as caught:
        read_all(reader, data)
    with pytest.raises(NetError) as again:
        reader.next()
    assert again.value is caught.value, "after an error a reader goes nowhere"
    return caught.value.kind


def outcome(chunks: list[bytes], bytes_max: int = 1_000) -> tuple[list[Item], str]:
    """What came out before the end or the error, and the error's kind or nothing."""
    reader = FrameReader(bytes_max)
    items: list[Item] = []
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while (item := reader.next()) is not None:
                items.append(item)
    except NetError as error:
        return items, error.kind
    return items, ""


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Item]]:
    """A valid stream, with fragments and control frames between them, and what is in it."""
    stream = b""
    items: list[Item] = []
    controls = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=CONTROL_PAYLOAD_BYTES_MAX))
    for _ in range(draw(st.integers(0, 6))):
        pieces = draw(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
        if draw(st.booleans()):
            pieces[0] *= draw(st.sampled_from([1, 2, 250]))
        for index, piece in enumerate(pieces):
            opcode, payload = draw(controls)
            if draw(st.booleans()):
                stream += server_frame(opcode, payload)
                items.append(Control(opcode, payload))
            stream += server_frame(BINARY if index == 0 else CONTINUATION, piece, fin=index == len(pieces) - 1)
        items.append(b"".join(pieces))
    return stream, items


@given(streams(), st.lists(st.integers(0, 400_000), max_size=12))
def test_however_the_stream_is_cut_the_same_comes_out(stream: tuple[bytes, list[Item]], cuts: list[int]) -> None:
    data, expected = stream
    reader = FrameReader(1_000_000)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    got: list[Item] = []
    for start, end in pairwise(edges):
        got += read_all(reader, data[start:end])
    assert got == expected
    assert not reader.inside_message


@given(streams())
def test_one_byte_at_a_time_the_same_comes_out(stream: tuple[bytes, list[Item]]) -> None:
    data, expected = stream
    reader = FrameReader(1_000_000)
    got: list[Item] = []
    for index in range(min(len(data), 5_000)):
        got += read_all(reader, data[index : index + 1])
    got += read_all(reader, data[5_000:])
    assert got == expected


def test_a_payload_that_looks_like_frames_is_not_read_as_frames() -> None:
    payload = server_frame(BINARY, b"x") * 50
    stream = server_frame(BINARY, payload)
    for cut in range(1, len(stream)):
        assert outcome([stream[:cut], stream[cut:]]) == ([payload], "")


def test_a_new_message_inside_another_is_seen_also_in_a_chunk_of_its_own() -> None:
    begun, other = server_frame(BINARY, b"x", fin=False), server_frame(BINARY, b"another")
    assert outcome([begun, other]) == ([], FailureKind.PROTOCOL)
    ping = server_frame(PING)
    assert outcome([begun + ping + other]) == ([Control(Opcode.PING, b"")], FailureKind.PROTOCOL)


@given(st.lists(st.binary(max_size=200), max_size=20))
@example([b"\x82\x7f" + b"\xff" * 8])
@example([b"\x82\x7f" + b"\x00" * 7, b"\x01", b"x"])
@example([b"\x02\x01a", b"\x80\x01b"])
def test_any_bytes_give_messages_or_our_error(chunks: list[bytes]) -> None:
    items, kind = outcome(chunks)
    assert kind in ("", FailureKind.PROTOCOL, FailureKind.TOO_LARGE, FailureKind.TEXT_FRAME)
    assert all(isinstance(item, Control) or len(item) <= 1_000 for item in items)


@given(st.binary(min_size=2, max_size=40), st.integers(1, 40))
def test_errors_do_not_depend_on_the_cut_either(data: bytes, cut: int) -> None:
    assert outcome([data]) == outcome([data[:cut], data[cut:]])


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, BYTES_MAX])
def test_lengths_at_the_edges_of_their_encodings(size: int) -> None:
    payload = bytes(size)
    stream = server_frame(BINARY, payload)
    assert read_all(FrameReader(BYTES_MAX), stream * 3) == [payload] * 3


def test_a_length_in_a_longer_form_than_needed_is_taken() -> None:
    assert read_all(FrameReader(10), b"\x82\x7e\x00\x02hi") == [b"hi"]
    assert read_all(FrameReader(10), b"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x02hi") == [b"hi"]


def test_a_message_over_the_limit_is_refused_by_its_head_alone() -> None:
    head = b"\x82\x7f" + (BYTES_MAX + 1).to_bytes(8, "big")
    assert failure_of(head) == FailureKind.TOO_LARGE
    assert failure_of(b"\x82\x7f" + b"\xff" * 8) == FailureKind.TOO_LARGE
    assert failure_of(b"\x82\x03", bytes_max=2) == FailureKind.TOO_LARGE
    assert failure_of(server_frame(BINARY, b"abc"), bytes_max=2) == FailureKind.TOO_LARGE


def test_fragments_count_together_against_the_limit() -> None:
    half = server_frame(BINARY, bytes(BYTES_MAX // 2), fin=False)
    rest = server_frame(CONTINUATION, bytes(BYTES_MAX // 2))
    assert read_all(FrameReader(BYTES_MAX), half + rest) == [bytes(BYTES_MAX)]
    assert failure_of(half + server_frame(CONTINUATION, bytes(BYTES_MAX // 2 + 1))[:10]) == FailureKind.TOO_LARGE


def test_empty_fragments_do_not_go_on_for_ever() -> None:
    piece = server_frame(CONTINUATION, b"", fin=False)
    begun = server_frame(BINARY, b"", fin=False)
    enough = begun + piece * (FRAGMENTS_MAX - 2) + server_frame(CONTINUATION, b"x")
    assert read_all(FrameReader(BYTES_MAX), enough * 2) == [b"x", b"x"]
    assert failure_of(begun + piece * FRAGMENTS_MAX) == FailureKind.PROTOCOL


def test_a_large_message_in_single_bytes_takes_no_more_memory_than_it_has() -> None:
    size = 60_000
    reader = FrameReader(size)
    data = server_frame(BINARY, bytes(size))
    tracemalloc.start()
    try:
        for index in range(len(data) - 1):
            reader.feed(data[index : index + 1])
            assert reader.next() is None
        assert tracemalloc.get_traced_memory()[1] < 3 * size
    finally:
        tracemalloc.stop()
    assert reader.inside_message
    assert read_all(reader, data[-1:]) == [bytes(size)]


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (server_frame(TEXT, b"hello"), FailureKind.TEXT_FRAME),
        (server_frame(TEXT, b"", fin=False), FailureKind.TEXT_FRAME),
        (server_frame(BINARY, b"x", masked=True), FailureKind.PROTOCOL),
        (server_frame(PING, b"", masked=True), FailureKind.PROTOCOL),
        (server_frame(BINARY, b"x", reserved=4), FailureKind.PROTOCOL),
        (server_frame(BINARY, b"x", reserved=2), FailureKind.PROTOCOL),
        (server_frame(PING, b"x", reserved=1), FailureKind.PROTOCOL),
        (server_frame(3, b"x"), FailureKind.PROTOCOL),
        (server_frame(7, b"x"), FailureKind.PROTOCOL),
        (server_frame(11, b"x"), FailureKind.PROTOCOL),
        (server_frame(15, b"x"), FailureKind.PROTOCOL),
        (server_frame(CONTINUATION, b"x"), FailureKind.PROTOCOL),
        (server_frame(CONTINUATION, b"x", fin=False), FailureKind.PROTOCOL),
        (server_frame(BINARY, b"x", fin=False) + server_frame(BINARY, b"another"), FailureKind.PROTOCOL),
        (server_frame(BINARY, b"x", fin=False) + server_frame(TEXT, b"y"), FailureKind.TEXT_FRAME),
        (server_frame(PING, b"x", fin=False), FailureKind.PROTOCOL),
        (server_frame(CLOSE, bytes(126)), FailureKind.PROTOCOL),
        (server_frame(PONG, bytes(70_000)), FailureKind.PROTOCOL),
    ],
)
def test_broken_framing(stream: bytes, kind: FailureKind) -> None:
    assert failure_of(stream) == kind
    assert outcome([stream[index : index + 1] for index in range(min(len(stream), 10))])[1] == kind


def test_messages_before_the_broken_frame_still_come() -> None:
    reader = FrameReader(BYTES_MAX)
    reader.feed(server_frame(BINARY, b"good") + server_frame(TEXT, b"bad"))
    assert reader.next() == b"good"
    with pytest.raises(NetError):
        reader.next()


def test_control_frames_pass_between_fragments() -> None:
    stream = (
        server_frame(BINARY, b"a", fin=False)
        + server_frame(PING, b"p")
        + server_frame(CONTINUATION, b"b", fin=False)
        + server_frame(CLOSE, close_payload(1000))
        + server_frame(CONTINUATION, b"c")
    )
    assert read_all(FrameReader(BYTES_MAX), stream) == [
        Control(Opcode.PING, b"p"),
        Control(Opcode.CLOSE, b"\x03\xe8"),
        b"abc",
    ]


def test_close_payloads() -> None:
    assert parse_close(b"") == (1005, "")
    assert parse_close(close_payload(1008, "ConsumerTooSlow")) == (1008, "ConsumerTooSlow")
    assert parse_close(b"\x03\xe8\xff") == (1000, "\ufffd")
    with pytest.raises(NetError) as caught:
        parse_close(b"\x03")
    assert caught.value.kind == FailureKind.PROTOCOL


@given(st.integers(0, 65_535), st.text(max_size=200))
def test_a_close_payload_always_fits_and_keeps_whole_characters(code: int, reason: str) -> None:
    payload = close_payload(code, reason)
    assert len(payload) <= CONTROL_PAYLOAD_BYTES_MAX
    got_code, got_reason = parse_close(payload)
    assert got_code == code
    assert reason.startswith(got_reason)


@given(
    st.sampled_from([Opcode.CLOSE, Opcode.PING, Opcode.PONG]),
    st.binary(max_size=125),
    st.binary(min_size=4, max_size=4),
)
def test_our_control_frames_are_masked(opcode: Opcode, payload: bytes, mask: bytes) -> None:
    frame = encode_control(opcode, payload, mask)
    assert frame[0] == 0x80 | opcode
    assert frame[1] == 0x80 | len(payload)
    assert frame[2:6] == mask
    assert bytes(byte ^ mask[index % 4] for index, byte in enumerate(frame[6:])) == payload
