"""One consumer in a process of its own, from cursor 0: `python -m tools.bench.consumer PORT TOTAL FILE`.

Prints `connected`, and `all` once TOTAL events are here; then writes what it got to FILE, one event
a line: seq, kind, DID and rev ("-" where it has none).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import libipld

from tools.bench import raw_websocket

PATH = "/xrpc/com.atproto.sync.subscribeRepos?cursor=0"
RECEIVE_BYTES = 256 * 1024


def main(port: int, total: int, file: Path) -> None:
    seen: list[str] = []
    sock, rest = raw_websocket.connect(port, PATH)
    print("connected", flush=True)
    frames = raw_websocket.Frames()
    seen.extend(_events(frames, rest))
    while len(seen) < total:
        data = sock.recv(RECEIVE_BYTES)
        assert data, f"the relay closed the stream after {len(seen)} of {total} events"
        seen.extend(_events(frames, data))
    print("all", flush=True)
    file.write_text("".join(seen))


def _events(frames: raw_websocket.Frames, data: bytes) -> Iterator[str]:
    for wire in frames.feed(data):
        header, body = libipld.decode_dag_cbor_multi(wire)
        yield f"{body['seq']} {header['t']} {body.get('repo') or body['did']} {body.get('rev', '-')}\n"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
