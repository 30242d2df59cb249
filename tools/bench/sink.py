"""Many consumers in one process, which read, sum up, and keep nothing:

    python -m tools.bench.sink PORT CONNECTIONS WINDOW TOTAL

Prints `ready`, then `ack` whenever every connection has got WINDOW bytes more, and once each has got TOTAL bytes their
CRC-32s, as a JSON list.
"""

import json
import selectors
import socket
import sys
from dataclasses import dataclass
from zlib import crc32

from tools.bench import raw_websocket

RECEIVE_BYTES = 256 * 1024


@dataclass(slots=True)
class _Reader:
    sock: socket.socket
    received: int = 0
    checksum: int = 0

    def take(self, data: bytes) -> None:
        self.received += len(data)
        self.checksum = crc32(data, self.checksum)


def main(port: int, count: int, window: int, total: int) -> None:
    selector = selectors.DefaultSelector()
    readers = []
    for _ in range(count):
        sock, rest = raw_websocket.connect(port, "/")
        reader = _Reader(sock)
        reader.take(rest)
        readers.append(reader)
        selector.register(sock, selectors.EVENT_READ, reader)
    print("ready", flush=True)
    awaited = min(window, total)
    behind = count
    while behind:
        for key, _ in selector.select():
            reader = key.data
            before = reader.received
            data = reader.sock.recv(RECEIVE_BYTES)
            assert data, f"closed after {before} of {total} bytes"
            reader.take(data)
            if before < awaited <= reader.received:
                behind -= 1
        while not behind and awaited < total:
            print("ack", flush=True)
            awaited = min(awaited + window, total)
            behind = sum(reader.received < awaited for reader in readers)
    assert all(reader.received == total for reader in readers), "more than there was to send"
    print(json.dumps([reader.checksum for reader in readers]), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
