"""`python -m tools.simulator`: prints one line of JSON when it is ready, or when it is done."""

import resource
import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from pathlib import Path

from gevent import monkey

DOCUMENTS = ("last", "of_the_time")
MIXES = ("good", "lifelike", "hostile")


def parser() -> ArgumentParser:
    top = ArgumentParser(prog="python -m tools.simulator", description="An AT Protocol network on loopback.")
    commands = top.add_subparsers(dest="command", required=True)

    def add(name: str, help_text: str) -> ArgumentParser:
        return commands.add_parser(
            name, help=help_text, description=help_text, formatter_class=ArgumentDefaultsHelpFormatter
        )

    sign = add("sign", "Signs events ahead, into a folder.")
    sign.add_argument("folder", type=Path)
    _add_world(sign)
    sign.add_argument(
        "--base-port", type=int, default=18_300, help="of `serve`: the did:web DIDs get the ports above its hosts'"
    )
    sign.add_argument("--no-ledger", action="store_true", help="does not put down what was meant by each event")

    serve = add("serve", "Sends what `sign` has put into a folder.")
    serve.add_argument("folder", type=Path)
    _add_network(serve)
    _add_settle(serve)

    live = add("live", "Makes events while it runs.")
    _add_world(live)
    _add_network(live)
    live.add_argument("--ledger", type=Path, help="file for what was meant by each event")

    replay = add("replay", "Sends what was recorded from real hosts.")
    replay.add_argument("frames", type=Path, nargs="+", help="one file for each host")
    replay.add_argument("--dids", type=Path, help="dids.json, where it is not beside the first file")
    replay.add_argument("--documents", choices=DOCUMENTS, default="last", help="which state of the DID documents")
    _add_network(replay)
    _add_settle(replay)

    bench = add("bench-serve", "Measures how fast `serve` is.")
    bench.add_argument("--events", type=int, default=200_000)
    bench.add_argument("--hosts", type=int, default=4)
    bench.add_argument("--frame-bytes", type=int, default=5_500)
    bench.add_argument("--tls", action="store_true")
    return top


def _add_world(command: ArgumentParser) -> None:
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--hosts", type=int, default=3)
    command.add_argument("--accounts", type=int, default=4, help="on each host")
    command.add_argument("--records", type=int, default=0, help="that each repository starts with")
    command.add_argument("--p256-share", type=float, default=0.25, help="of the accounts")
    command.add_argument("--web-dids", type=int, default=0, help="accounts with a did:web")
    command.add_argument("--events", type=int, default=1_000)
    command.add_argument("--mix", choices=MIXES, default="lifelike")


def _add_network(command: ArgumentParser) -> None:
    command.add_argument("--rate", type=float, help="events per second over all hosts; without it, as fast as can be")
    command.add_argument("--at-once", action="store_true", help="begins before every host has had a subscription")
    command.add_argument("--tls", action="store_true", help="hosts have certificates; their CA is in the line printed")
    command.add_argument("--base-port", type=int, default=0, help="directory; hosts and did:web above it. 0: any")
    command.add_argument("--control-port", type=int, default=0)


def _add_settle(command: ArgumentParser) -> None:
    help_text = "seconds that a DID document waits to change after the frames before it were sent"
    command.add_argument("--settle", type=float, default=0.0, help=help_text)


def main() -> int:
    arguments = parser().parse_args()
    if arguments.command != "bench-serve":
        monkey.patch_all()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # three descriptors for each host
    from tools.simulator.commands import COMMANDS, ERRORS

    try:
        COMMANDS[arguments.command](arguments)
    except ERRORS as error:
        print(f"{parser().prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # before it was ready
    return 0


if __name__ == "__main__":
    sys.exit(main())
