"""How fast one process serves a stream that was signed ahead, to a reader that does nothing but read."""

import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tools.simulator import cbor
from tools.simulator.ahead.streams import write
from tools.simulator.model import Emission, Intent
from tools.simulator.servers.host import SUBSCRIBE

ROOT: Final = Path(__file__).resolve().parents[3]
READ_S_MAX: Final = 600.0
_READ_BYTES: Final = 1024 * 1024
_KEY: Final = "c2ltdWxhdG9yIGJlbmNobQ=="


def bench(events: int, hosts: int, frame_bytes: int, *, tls: bool = False) -> dict[str, object]:
    """Serves that many frames of that size, of nothing but bytes, over so many hosts, one connection to each."""
    with tempfile.TemporaryDirectory(prefix="simulator-") as name:
        folder = Path(name) / "stream"
        manifest = write(folder, hosts, _frames(events, hosts, frame_bytes))
        command = [sys.executable, "-m", "tools.simulator", "serve", str(folder), *(["--tls"] if tls else [])]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            try:
                ready = json.loads(server.stdout.readline())
                began_s, cpu_s = time.monotonic(), time.process_time()
                received = _read_all(ready, manifest.byte_count)
                took_s = time.monotonic() - began_s
                reader_cpu_s = time.process_time() - cpu_s
            finally:
                server.send_signal(signal.SIGTERM)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "events": manifest.events,
        "hosts": hosts,
        "frameBytes": frame_bytes,
        "tls": tls,
        "complete": received == manifest.byte_count,
        "seconds": round(took_s, 3),
        "eventsPerSecond": round(manifest.events / took_s),
        "megabytesPerSecond": round(received / took_s / 1e6, 1),
        "serverCpuSeconds": round(used.ru_utime + used.ru_stime, 3),
        "serverMaxRssKiB": used.ru_maxrss,
        "readerCpuSeconds": round(reader_cpu_s, 3),
        "cores": os.cpu_count(),
    }


def _frames(events: int, hosts: int, frame_bytes: int) -> Iterator[Emission]:
    header = cbor.encode({"t": "#commit", "op": 1})
    padding = os.urandom(frame_bytes)
    for number in range(events):
        seq = number // hosts + 1
        body = cbor.encode({"seq": seq, "blocks": b""})
        body = cbor.encode({"seq": seq, "blocks": padding[: frame_bytes - len(header) - len(body) - 2]})
        yield Emission(number % hosts, 0, seq, header + body, "#commit", "", None, Intent.GOOD)


def _read_all(ready: dict[str, object], byte_count: int) -> int:
    """Bytes behind the handshakes, from all hosts at once."""
    origins, ca_file = ready["origins"], ready["caFile"]
    assert isinstance(origins, list)
    assert ca_file is None or isinstance(ca_file, str)
    sockets = [_subscribe(origin, ca_file) for origin in origins]
    counts = [0] * len(sockets)
    total = threading.Event()

    def read(index: int) -> None:
        buffer = bytearray(_READ_BYTES)
        while size := sockets[index].recv_into(buffer):
            counts[index] += size
            if sum(counts) >= byte_count:
                total.set()

    threads = [threading.Thread(target=read, args=(index,), daemon=True) for index in range(len(sockets))]
    for thread in threads:
        thread.start()
    total.wait(timeout=READ_S_MAX)
    for sock, thread in zip(sockets, threads, strict=True):
        sock.shutdown(socket.SHUT_RDWR)
        thread.join()
        sock.close()
    return sum(counts)


def _subscribe(origin: str, ca_file: str | None) -> socket.socket:
    url = urlsplit(origin)
    assert url.hostname is not None
    sock = socket.create_connection((url.hostname, url.port or 0))
    if ca_file is not None:
        sock = ssl.create_default_context(cafile=ca_file).wrap_socket(sock, server_hostname=url.hostname)
    lines = (f"GET {SUBSCRIBE}?cursor=0 HTTP/1.1", f"Host: {url.netloc}", "Upgrade: websocket", "Connection: Upgrade")
    sock.sendall("\r\n".join((*lines, f"Sec-WebSocket-Key: {_KEY}", "Sec-WebSocket-Version: 13", "", "")).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return sock
