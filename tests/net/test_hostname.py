import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.errors import SyntaxInvalidError
from zlay_py.net.hostname import HostAddress, parse_hostname

PUBLIC = [
    ("pds.example.com", HostAddress("pds.example.com", 443, True)),
    ("PDS.Example.COM", HostAddress("pds.example.com", 443, True)),
    ("https://pds.example.com", HostAddress("pds.example.com", 443, True)),
    ("HTTPS://pds.example.com/", HostAddress("pds.example.com", 443, True)),
    ("wss://pds.example.com/xrpc/com.atproto.sync.subscribeRepos?cursor=1", HostAddress("pds.example.com", 443, True)),
    ("http://pds.example.com", HostAddress("pds.example.com", 80, False)),
    ("ws://pds.example.com", HostAddress("pds.example.com", 80, False)),
    ("pds.example.com/path?query#fragment", HostAddress("pds.example.com", 443, True)),
    ("https://service.local", HostAddress("service.local", 443, True)),
    ("https://service.local/", HostAddress("service.local", 443, True)),
    ("morel.us-east.host.bsky.network", HostAddress("morel.us-east.host.bsky.network", 443, True)),
    ("xn--bcher-kva.example", HostAddress("xn--bcher-kva.example", 443, True)),
]
LOCAL = [
    ("localhost:8080", HostAddress("localhost", 8080, False)),
    ("LOCALHOST:8080", HostAddress("localhost", 8080, False)),
    ("http://localhost:8080", HostAddress("localhost", 8080, False)),
    ("ws://localhost:8080/path", HostAddress("localhost", 8080, False)),
    ("https://localhost:8080", HostAddress("localhost", 8080, True)),
    ("wss://localhost:8080", HostAddress("localhost", 8080, True)),
    ("127.0.0.1:8080", HostAddress("localhost", 8080, False)),
    ("https://127.0.0.1:8080/", HostAddress("localhost", 8080, True)),
]
NEVER = [
    "",
    " ",
    "asdf",
    "https://internal",
    "localhost",
    "https://localhost",
    "localhost:",
    "localhost:0",
    "localhost:080",
    "localhost:65536",
    "localhost:99999999999",
    "localhost:8080x",
    "localhost:-1",
    "localhost:+80",
    "127.0.0.1",
    "127.0.0.2:8080",
    "[::1]:8080",
    "8.8.8.8",
    "https://8.8.8.8",
    "8.8.8.8:443",
    "0x7f000001",
    "at://",
    "at://pds.example.com",
    "ftp://pds.example.com",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "https://",
    "https:///pds.example.com",
    "//pds.example.com",
    "https:pds.example.com",
    "https://https://pds.example.com",
    "pds.example.com:443",
    "https://pds.example.com:8443",
    "pds.example.com:",
    "pds.example.com.",
    ".pds.example.com",
    "pds..example.com",
    "-pds.example.com",
    "pds_1.example.com",
    "pds.example.com ",
    " pds.example.com",
    "pds.example.com\n",
    "pds.example.com\x00",
    "pds.example.com\t/",
    "user@pds.example.com",
    "https://user:password@pds.example.com",
    "https://pds.example.com@127.0.0.1:8080",
    "pds.example.com\\@localhost:8080",
    "https://pds.example.com\\.evil.example",
    "b\u00fcro.example.com",
    "\uff50ds.example.com",  # a full-width p
    "pds\u3002example.com",  # the ideographic full stop, which IDNA takes for a dot
    "pds.examp\u212ae.com",  # the Kelvin sign, whose lower case is an ASCII k
    "\uff4cocalhost:8080",
    "localhost:\u0661\u0662",  # Arabic digits
    "https://pds.example.com/\u00fc",
    "a" * 64 + ".example.com",
    ".".join(["a" * 49] * 6),
    "https://pds.example.com/" + "a" * 2_048,
]


@pytest.mark.parametrize(("text", "address"), PUBLIC)
def test_public_names(text: str, address: HostAddress) -> None:
    assert parse_hostname(text, allow_local=False) == address
    assert parse_hostname(text, allow_local=True) == address


@pytest.mark.parametrize(("text", "address"), LOCAL)
def test_local_names_are_for_development(text: str, address: HostAddress) -> None:
    assert parse_hostname(text, allow_local=True) == address
    with pytest.raises(SyntaxInvalidError):
        parse_hostname(text, allow_local=False)


@pytest.mark.parametrize("text", NEVER)
def test_everything_else_is_refused_also_in_development(text: str) -> None:
    with pytest.raises(SyntaxInvalidError):
        parse_hostname(text, allow_local=True)


def test_the_name_is_the_same_whatever_scheme_and_alias_led_to_it() -> None:
    names = {parse_hostname(text, allow_local=True).name for text, _ in LOCAL}
    assert names == {"localhost:8080"}
    assert parse_hostname("ws://pds.example.com", allow_local=False).name == "pds.example.com"


def test_urls() -> None:
    public = HostAddress("pds.example.com", 443, True)
    assert public.http_url("/xrpc/_health?x=1") == "https://pds.example.com/xrpc/_health?x=1"
    assert public.http_url() == "https://pds.example.com"
    assert public.ws_url("/xrpc/a") == "wss://pds.example.com/xrpc/a"
    assert not public.is_local
    plain = HostAddress("pds.example.com", 80, False)
    assert plain.http_url("/") == "http://pds.example.com/"
    local = HostAddress("localhost", 18_201, False)
    assert local.http_url("/") == "http://localhost:18201/"
    assert local.ws_url("/") == "ws://localhost:18201/"
    assert HostAddress("localhost", 18_201, True).ws_url("/") == "wss://localhost:18201/"
    assert local.is_local


@given(st.text(max_size=300), st.booleans())
def test_any_text_is_a_host_or_our_error_and_a_name_stands_for_itself(text: str, allow_local: bool) -> None:
    try:
        address = parse_hostname(text, allow_local)
    except SyntaxInvalidError:
        return
    scheme = "https://" if address.tls else "http://"
    assert parse_hostname(scheme + address.name, allow_local) == address


@given(st.from_regex(r"(https?://)?[a-z0-9.-]{1,40}(:[0-9]{1,6})?(/.{0,5})?", fullmatch=True))
def test_what_nearly_is_a_host_gives_a_canonical_name_or_our_error(text: str) -> None:
    try:
        address = parse_hostname(text, allow_local=True)
    except SyntaxInvalidError:
        return
    assert address.name == address.name.lower()
    assert address.name.isascii()
