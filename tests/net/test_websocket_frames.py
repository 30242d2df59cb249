"""Frames of clients: read the same however they are cut, and anything at all is controls or ClientFrameError."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ws_raw_client import encode_client_frame
from zlay_py.net.websocket_frames import (
    ClientFrameError,
    ClientFrameParser,
    CloseCode,
    Control,
    Opcode,
    encode_close,
    encode_frame,
    parse_close,
    unmask,
)

SIZES = st.sampled_from([0, 1, 100, 125, 126, 200])
CONTROLS = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125))
MESSAGES = st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.binary(max_size=70_000))


def feed_in_pieces(parser: ClientFrameParser, data: bytes, cuts: list[int]) -> list[Control]:
    controls = []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        controls += parser.feed(data[start:end])
    return controls


@given(st.lists(st.one_of(CONTROLS, MESSAGES), max_size=8), st.lists(st.integers(min_value=0), max_size=20))
def test_controls_are_found_between_messages(frames: list[tuple[Opcode, bytes]], cuts: list[int]) -> None:
    data = b"".join(encode_client_frame(opcode, payload) for opcode, payload in frames)
    expected = [(opcode, payload) for opcode, payload in frames if opcode >= Opcode.CLOSE]
    assert feed_in_pieces(ClientFrameParser(100_000), data, cuts) == expected


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=10))
def test_any_bytes_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """The same outcome as in one piece."""
    outcomes = []
    for edges in ([], cuts):
        try:
            outcomes.append(feed_in_pieces(ClientFrameParser(), data, edges)[-1:])
        except ClientFrameError as error:
            outcomes.append([Control(Opcode.CLOSE, bytes(error.code % 251))])
    if Opcode.CLOSE not in [control.opcode for control in outcomes[0] + outcomes[1]]:
        assert outcomes[0] == outcomes[1]


@given(
    st.lists(st.tuples(st.sampled_from([0, 0, 0, 0, 1, 2, 9, 10, 8, 3]), st.booleans(), SIZES.map(bytes)), max_size=10)
)
def test_any_sequence_of_frames(frames: list[tuple[int, bool, bytes]]) -> None:
    """Against the rules of RFC 6455 §5.4 and §5.5, written down once more."""
    parser = ClientFrameParser(message_bytes_max=300)
    message_bytes: int | None = None
    for opcode, fin, payload in frames:
        expected = expected_code(opcode, fin, payload, message_bytes)
        if expected is not None:
            with pytest.raises(ClientFrameError) as caught:
                parser.feed(encode_client_frame(opcode, payload, fin=fin))
            assert caught.value.code == expected
            return
        controls = parser.feed(encode_client_frame(opcode, payload, fin=fin))
        assert controls == ([(opcode, payload)] if opcode >= 8 else [])
        if opcode == 8:
            return
        if opcode < 8:
            message_bytes = None if fin else (message_bytes or 0) + len(payload)


def expected_code(opcode: int, fin: bool, payload: bytes, message_bytes: int | None) -> int | None:
    """None: the frame is right."""
    if opcode not in (0, 1, 2, 8, 9, 10):
        return 1002
    if opcode >= 8:
        return 1002 if not fin or len(payload) > 125 else None
    if (opcode == 0) != (message_bytes is not None):
        return 1002
    return 1009 if (message_bytes or 0) + len(payload) > 300 else None


@given(st.binary(max_size=200), st.binary(min_size=4, max_size=4))
def test_unmask_is_xor(payload: bytes, key: bytes) -> None:
    assert unmask(payload, key) == bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


@given(st.sampled_from([1000, 1001, 1008, 1012, 3000, 4999]), st.text(max_size=200))
def test_close_frames(code: int, reason: str) -> None:
    """The reason comes back, cut to what fits; the frame is never longer than a control frame may be."""
    frame = encode_close(code, reason)
    assert len(frame) <= 127
    got_code, got_reason = parse_close(frame[2:])
    assert got_code == code
    assert reason.startswith(got_reason)
    assert got_reason == reason or len(got_reason.encode()) > 119


@given(st.binary(max_size=130))
def test_any_close_payload(payload: bytes) -> None:
    try:
        code, reason = parse_close(payload)
    except ClientFrameError as error:
        code, reason = -error.code, ""
    if not payload:
        assert (code, reason) == (1005, "")
    elif code > 0:
        assert 1000 <= code < 5000
        assert payload == code.to_bytes(2, "big") + reason.encode()
    else:
        assert -code in (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_PAYLOAD)


@pytest.mark.parametrize(
    ("size", "head"), [(125, "827d"), (126, "827e007e"), (65535, "827effff"), (65536, "827f0000000000010000")]
)
def test_the_head_of_a_server_frame(size: int, head: str) -> None:
    frame = encode_frame(Opcode.BINARY, bytes(size))
    assert frame == bytes.fromhex(head) + bytes(size)


def test_nothing_is_read_after_a_close() -> None:
    parser = ClientFrameParser()
    data = encode_client_frame(8, b"\x03\xe8") + b"not frames at all"
    assert parser.feed(data) == [(Opcode.CLOSE, b"\x03\xe8")]
