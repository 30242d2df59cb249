import pytest

from tests.support.net_clients import LIMITS, MakeClient, get_failure, url_of
from tests.support.net_servers import (
    answering,
    header,
    hold,
    response,
    serving,
)
from zlay_py.net.failures import FailureKind
from zlay_py.net.ssrf import AddressGuard


def test_a_private_address_is_refused_before_anything_is_sent(client: MakeClient) -> None:
    with serving(hold) as server:
        http = client(guard=AddressGuard(allow_loopback=False), resolve=lambda _: ["127.0.0.1", "10.0.0.1"])
        for url in (url_of(server), f"http://pds.example.com:{server.port}/", "https://pds.example.com/"):
            assert get_failure(http, url) == FailureKind.POLICY
        assert server.connections == 0


def test_redirects_are_followed_when_allowed_and_each_is_guarded(client: MakeClient) -> None:
    target_requests: list[bytes] = []
    with serving(answering(response("200 OK", b"2"), requests=target_requests)) as target:
        for location in (f"http://localhost:{target.port}/there", f"//localhost:{target.port}/there"):
            answer = response("302 Found", b"elsewhere", f"Location: {location}")
            with serving(answering(answer, answer)) as server:
                http = client()
                got = http.get(url_of(server), redirects_max=1, headers={"Authorization": "secret"}, **LIMITS)
                assert (got.body, got.url) == (b"2", f"http://localhost:{target.port}/there")
                assert got.status == 200
        assert [header(head, "Authorization") for head in target_requests] == [None, None]
        assert target_requests[0].startswith(b"GET /there ")


def test_a_relative_redirect_stays_on_its_connection(client: MakeClient) -> None:
    requests: list[bytes] = []
    answers = (response("301 Moved", b"", "Location: ../b?c=d"), response("200 OK", b"2"))
    with serving(answering(*answers, requests=requests)) as server:
        got = client().get(url_of(server, "/a/a"), redirects_max=3, headers={"X-Mine": "1"}, **LIMITS)
        assert got.body == b"2"
        assert server.connections == 1
    assert requests[1].startswith(b"GET /b?c=d ")
    assert header(requests[1], "X-Mine") == "1"


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("http://10.0.0.1/", FailureKind.POLICY),
        ("http://[::ffff:10.0.0.1]/", FailureKind.POLICY),
        ("http://169.254.169.254/latest/meta-data", FailureKind.POLICY),
        ("http://pds.example.com:8080/", FailureKind.POLICY),
        ("ftp://localhost/", FailureKind.BAD_URL),
        ("file:///etc/passwd", FailureKind.BAD_URL),
        ("http://user@localhost/", FailureKind.BAD_URL),
        ("http://[::1/", FailureKind.BAD_URL),
        ("http://localhost:0/", FailureKind.BAD_URL),
        ("/a b", FailureKind.BAD_URL),
        ("/loop", FailureKind.REDIRECT),
    ],
)
def test_redirects_that_lead_nowhere(client: MakeClient, location: str, kind: FailureKind) -> None:
    answer = response("307 Temporary Redirect", b"", f"Location: {location}")
    with serving(answering(*[answer] * 4)) as server:
        http = client(resolve=lambda host: ["8.8.8.8"] if host == "pds.example.com" else ["127.0.0.1"])
        if location.startswith("http://10") or "[" in location or "169" in location:
            http = client()
        assert get_failure(http, url_of(server), hops=3) == kind


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pds.example.com",
        "/path",
        "ws://localhost/",
        "http:///path",
        "http://user:password@localhost/",
        "http://localhost:99999/",
        "http://localhost/\r\nX: y",
        "http://localhost\\@8.8.8.8/",
        "http://local host/",
        "http://b\u00fcro.example.com/",
        "http://" + "a" * 300 + "/",
        "http://localhost/" + "a" * 9_000,
    ],
)
def test_urls_that_are_not_requested(client: MakeClient, url: str) -> None:
    http = client(resolve=lambda _: pytest.fail("looked up"))
    assert get_failure(http, url) == FailureKind.BAD_URL
