"""The request head parser: any bytes are a `RequestHead` or an HttpRefusedError, never anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.net.http_head import BodyKind, RequestHead, parse_head, tokens
from zlay_py.net.http_refusal import HttpRefusedError

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True).filter(
    lambda name: name.lower() not in ("host", "content-length", "transfer-encoding", "expect", "connection")
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=50).filter(
    lambda value: not any(0x80 <= ord(character) < 0xA0 for character in value)
)
WORDS = [b"GET", b"POST", b"/", b"*", b"http://a", b"HTTP/1.1", b"HTTP/1.0", b"Host", b"Content-Length", b"Expect"]
WORDS += [b"Transfer-Encoding", b"chunked", b"Connection", b"close", b"1"]
SEPARATORS = [b" ", b"\r\n", b"\n", b"\r", b":", b"\t", b"\x00", b",", b"\xff"]
PIECES = st.sampled_from(WORDS + SEPARATORS)


def parse(text: bytes) -> RequestHead | HttpRefusedError:
    try:
        return parse_head(text)
    except HttpRefusedError as refused:
        return refused


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    parse(data + b"\r\n\r\n")


@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_almost_requests(data: bytes) -> None:
    """One that is accepted has a body length that is known in one way only."""
    head = parse(data + b"\r\n\r\n")
    if isinstance(head, RequestHead):
        assert head.target.startswith("/") or head.target == "*"
        assert data.count(b"\n") == data.count(b"\r\n")
        if head.body_kind is BodyKind.CHUNKED:
            assert head.get("content-length") is None
        if head.body_kind is BodyKind.LENGTH:
            assert head.content_length > 0


@given(st.lists(st.tuples(NAMES, VALUES), max_size=20), st.integers(min_value=0, max_value=10**17))
def test_a_good_request_is_read_exactly(headers: list[tuple[str, str]], length: int) -> None:
    lines = [f"{name}:{value}" for name, value in [*headers, ("Host", "a"), ("content-LENGTH", str(length))]]
    text = "\r\n".join(["POST /path?query HTTP/1.1", *lines, "", ""])
    head = parse_head(text.encode("latin-1"))
    assert (head.method, head.target, head.version) == ("POST", "/path?query", "HTTP/1.1")
    assert head.headers[: len(headers)] == tuple((name.lower(), value.strip(" \t")) for name, value in headers)
    assert head.content_length == length
    assert head.body_kind is (BodyKind.LENGTH if length else BodyKind.NONE)
    assert head.keep_alive


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("HTTP/1.1", "", True),
        ("HTTP/1.1", "close", False),
        ("HTTP/1.1", "Upgrade, Close", False),
        ("HTTP/1.0", "", False),
        ("HTTP/1.0", "Keep-Alive", True),
    ],
)
def test_keep_alive(version: str, connection: str, keep_alive: bool) -> None:
    head = parse_head(f"GET / {version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n".encode())
    assert head.keep_alive is keep_alive


def test_repeated_headers_are_one_list() -> None:
    head = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2, B\r\n\r\n")
    assert head.get("x") == "1, 2, B"
    assert tokens(head.headers, "x") == ["1", "2", "b"]
    assert head.get("y") is None


@pytest.mark.parametrize(
    ("target", "expected"), [("http://a/b?c", "/b?c"), ("HTTPS://a:1", "/"), ("http://a?b", "/?b"), ("/?x", "/?x")]
)
def test_the_absolute_form_is_reduced(target: str, expected: str) -> None:
    assert parse_head(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).target == expected
