from pathlib import Path

import pytest

from tests.support.net_clients import LIMITS, MakeClient, get_failure, url_of
from tests.support.net_servers import (
    answering,
    hold,
    response,
    serving,
)
from tests.support.net_tls import TestAuthority
from zlay_py.errors import ConfigError
from zlay_py.net.failures import FailureKind
from zlay_py.net.tls import client_context


def test_tls(client: MakeClient, authority: TestAuthority) -> None:
    with serving(
        answering(response("200 OK", b"1"), response("200 OK", b"2")), tls=authority.server_context("localhost")
    ) as server:
        http = client()
        assert http.get_json(url_of(server, scheme="https"), **LIMITS) == (200, 1)
        assert http.get_json(url_of(server, scheme="https"), **LIMITS) == (200, 2)
        assert server.connections == 1


def test_tls_with_a_certificate_for_another_name(client: MakeClient, authority: TestAuthority) -> None:
    with serving(hold, tls=authority.server_context("other.example.com")) as server:
        assert get_failure(client(), url_of(server, scheme="https")) == FailureKind.TLS


def test_tls_with_an_unknown_authority(client: MakeClient, authority: TestAuthority) -> None:
    with serving(hold, tls=authority.server_context("localhost")) as server:
        assert get_failure(client(tls_context=client_context()), url_of(server, scheme="https")) == FailureKind.TLS


def test_tls_towards_a_server_without_it(client: MakeClient) -> None:
    with serving(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        assert get_failure(client(), url_of(server, scheme="https")) in (FailureKind.TLS, FailureKind.CLOSED)


def test_a_tls_handshake_without_an_answer_ends_at_the_deadline(client: MakeClient) -> None:
    with serving(hold) as server:
        assert get_failure(client(), url_of(server, scheme="https"), timeout_s=0.05) == FailureKind.TIMEOUT
        server.ended.get(timeout=10)


def test_no_redirect_from_https_to_http(client: MakeClient, authority: TestAuthority) -> None:
    answer = response("302 Found", b"", "Location: http://localhost:1/")
    with serving(answering(answer), tls=authority.server_context("localhost")) as server:
        assert get_failure(client(), url_of(server, scheme="https"), hops=1) == FailureKind.REDIRECT


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_ca_file_that_can_not_be_used_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        client_context(path)
