"""Look-ups over real sockets, through the relay's own HTTP client, to servers that behave and servers that do not."""

import json
import socket
from collections.abc import Iterator

import gevent
import pytest

from tests.identity.fakes import DID, HOST, KEY, ManualClock, MemoryStore, document
from tests.support.net_servers import Handler, ScriptedServer, answering, header, read_head, response, serving
from zlay_py.errors import NetError
from zlay_py.identity.directory import Directory
from zlay_py.identity.model import IdentityState
from zlay_py.identity.resolver import DOCUMENT_BYTES_MAX, REDIRECTS_MAX, DidResolver
from zlay_py.net.failures import FailureKind
from zlay_py.net.http_client import HttpClient
from zlay_py.net.ssrf import AddressGuard
from zlay_py.net.tls import client_context

GOOD = json.dumps(document()).encode()


@pytest.fixture
def http() -> Iterator[HttpClient]:
    client = HttpClient(AddressGuard(allow_loopback=True), user_agent="test", tls_context=client_context())
    yield client
    client.close()


def look_up(http: HttpClient, server: ScriptedServer) -> DidResolver:
    return DidResolver(http, f"http://localhost:{server.port}", True)


def test_a_plc_directory_is_asked_and_answers(http: HttpClient) -> None:
    requests: list[bytes] = []
    with serving(answering(response("200 OK", GOOD), requests=requests)) as server:
        answer = look_up(http, server).resolve(DID)
    assert (answer.state, answer.key, answer.pds_host) == (IdentityState.OK, KEY, HOST)
    assert requests[0].startswith(f"GET /{DID} HTTP/1.1\r\n".encode())
    assert header(requests[0], "Accept") == "application/did+ld+json, application/json"


def test_a_web_did_on_this_machine(http: HttpClient) -> None:
    requests: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        requests.append(read_head(connection))
        connection.sendall(response("200 OK", json.dumps(document(did)).encode()))

    with serving(handler) as server:
        did = f"did:web:localhost%3A{server.port}"
        assert look_up(http, server).resolve(did).key == KEY
    assert requests[0].startswith(b"GET /.well-known/did.json ")


@pytest.mark.parametrize(
    ("answer", "state"), [("404 Not Found", IdentityState.NOT_FOUND), ("410 Gone", IdentityState.TOMBSTONED)]
)
def test_statuses_of_the_directory(http: HttpClient, answer: str, state: IdentityState) -> None:
    with serving(answering(response(answer, b"not JSON at all"))) as server:
        assert look_up(http, server).resolve(DID).state is state


HOSTILE = {
    "huge": (response("200 OK", b'{"x": "' + b"a" * DOCUMENT_BYTES_MAX + b'"}'), FailureKind.TOO_LARGE),
    "huge by its own word": (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", FailureKind.TOO_LARGE),
    "not JSON": (response("200 OK", b"<!doctype html>"), FailureKind.DECODE),
    "not UTF-8": (response("200 OK", b'{"id": "\xff\xfe"}'), FailureKind.DECODE),
    "deep": (response("200 OK", b"[" * 100_000), FailureKind.DECODE),
    "a number as long as a book": (response("200 OK", b"7" * 100_000), FailureKind.DECODE),
    "empty": (response("200 OK", b""), FailureKind.DECODE),
    "another DID's": (response("200 OK", GOOD.replace(b"ewvi7n", b"aaaaaa")), FailureKind.DECODE),
    "cut short": (response("200 OK", GOOD)[:-5], FailureKind.CLOSED),
    "an error of the server": (response("503 Service Unavailable", GOOD), FailureKind.HTTP),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", FailureKind.HTTP),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_answer_that_is_none_is_a_net_error_and_nothing_else(http: HttpClient, name: str) -> None:
    answer, kind = HOSTILE[name]
    with serving(answering(answer)) as server, pytest.raises(NetError) as caught:
        look_up(http, server).resolve(DID)
    assert caught.value.kind == kind


def test_few_redirects_are_followed(http: HttpClient) -> None:
    def redirecting(times: int) -> Handler:
        answers = [response("302 Found", b"", f"Location: /{number}") for number in range(times)]
        return answering(*answers, response("200 OK", GOOD))

    with serving(redirecting(REDIRECTS_MAX)) as server:
        assert look_up(http, server).resolve(DID).state is IdentityState.OK
    with serving(redirecting(REDIRECTS_MAX + 1)) as server, pytest.raises(NetError) as caught:
        look_up(http, server).resolve(DID)
    assert caught.value.kind == FailureKind.REDIRECT


def test_a_redirect_into_the_private_network_is_refused(http: HttpClient) -> None:
    away = response("302 Found", b"", "Location: http://169.254.169.254/latest/meta-data/")
    with serving(answering(away)) as server, pytest.raises(NetError) as caught:
        look_up(http, server).resolve(DID)
    assert caught.value.kind == FailureKind.POLICY


def test_many_greenlets_make_one_request(http: HttpClient) -> None:
    requests: list[bytes] = []
    with serving(answering(response("200 OK", GOOD), requests=requests)) as server:
        directory = Directory(look_up(http, server), MemoryStore(), ManualClock(), cache_entries_max=10)
        greenlets = [gevent.spawn(directory.resolve, DID) for _ in range(200)]
        gevent.joinall(greenlets, timeout=10, raise_error=True)
        assert {greenlet.get().key for greenlet in greenlets} == {KEY}
        assert server.connections == len(requests) == 1
        directory.close()
