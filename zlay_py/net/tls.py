"""TLS towards hosts: one context for the whole process, handshakes on sockets that `dial` connected."""

import socket
import ssl
from pathlib import Path

from zlay_py.errors import ConfigError
from zlay_py.net.failures import mapped


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """The context to share between all connections: one of its own costs each connection 850 KiB and 20 ms.

    The system's roots, plus those in `ca_file` (PEM). TLS 1.2 at least; names and chains are checked.
    Raises ConfigError when the file can't be read.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])  # or a proxy in front of the host might choose HTTP/2
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError, for a file that is no PEM, is one
            raise ConfigError(f"CA file {ca_file} can't be used: {error}") from error
    return context


def start_tls(connection: socket.socket, host: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The TLS socket over `connection`, which it takes over, and closes if the handshake fails. Raises NetError.

    The caller sets the deadline.
    """
    with mapped(f"TLS with {host}"):
        try:
            secure = context.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
        except BaseException:
            connection.close()
            raise
        try:
            secure.do_handshake()
        except BaseException:
            secure.close()
            raise
    return secure
