"""Prints a relay's firehose, one line for each event: `.venv/bin/python -m tools.demo.tail [PORT]`. Ctrl-C ends it."""

import argparse
import sys

import websocket

from tools.demo.consumer import read


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", nargs="?", type=int, default=3000)
    parser.add_argument("--cursor", type=int, help="from that seq on, 0 for all that is kept; without it from now on")
    arguments = parser.parse_args()
    query = "" if arguments.cursor is None else f"?cursor={arguments.cursor}"
    try:
        stream = websocket.create_connection(
            f"ws://localhost:{arguments.port}/xrpc/com.atproto.sync.subscribeRepos{query}"
        )
        while wire := stream.recv():
            event = read(wire if isinstance(wire, bytes) else wire.encode())
            if event is not None:
                what = ", ".join(f"{action} {path}" for action, path in event.ops) or event.note
                print(event.seq, event.kind, event.did, what, flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    except (OSError, websocket.WebSocketException) as error:
        print(f"localhost:{arguments.port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
