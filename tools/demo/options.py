"""What can be chosen on the command line."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PORT_MAX = 65_534
"""The metrics take the next one."""
SECONDS_DEFAULT = 1_800.0
"""The consumer keeps every event for the verdict, and the relay's log is on a temporary disk: a demo that somebody has
forgotten must come to an end."""
SUFFIXES = (".svg", ".txt")


@dataclass(frozen=True, slots=True)
class Options:
    """`accounts`: on each host at the start. `rate`: events per second over all hosts. `port`: None for the usual."""

    hosts: int = 4
    accounts: int = 12
    rate: float = 60.0
    seconds: float = SECONDS_DEFAULT
    seed: int = 1
    port: int | None = None
    keep: Path | None = None
    screenshot: Path | None = None


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Ends the process with status 2 and a line for what can't be."""
    default = Options()
    parser = argparse.ArgumentParser(
        prog="make demo ARGS=…",
        description="A relay between a simulated network and a consumer, all on this machine. Ctrl-C ends it, with a "
        "verdict on everything that came out of the relay; a second Ctrl-C ends it without.",
    )
    parser.add_argument(
        "--hosts", type=_number(int, 1, 200), default=default.hosts, metavar="N", help="simulated PDSes (%(default)s)"
    )
    parser.add_argument(
        "--accounts",
        type=_number(int, 1, 1_000),
        default=default.accounts,
        metavar="N",
        help="accounts on each of them at the start (%(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=_number(float, 1, 2_000),
        default=default.rate,
        metavar="N",
        help="events per second over all hosts (%(default)g)",
    )
    parser.add_argument(
        "--seconds",
        type=_number(float, 1, 86_400),
        default=default.seconds,
        metavar="N",
        help="ends by itself after that long (%(default)g)",
    )
    parser.add_argument(
        "--seed",
        type=_number(int, 0, 2**31),
        default=default.seed,
        metavar="N",
        help="another number, other accounts and events (%(default)s)",
    )
    parser.add_argument(
        "--port",
        type=_number(int, 1, PORT_MAX),
        metavar="N",
        help="the relay's; its metrics take the next one (3000 and 3001, or free ones where those are taken)",
    )
    parser.add_argument(
        "--keep", type=_new_folder, metavar="DIR", help="keep data and logs there; a folder that is not there yet"
    )
    parser.add_argument(
        "--screenshot", type=_picture, metavar="FILE.svg", help="the last screen as a picture, or as text (.txt)"
    )
    return Options(**vars(parser.parse_args(arguments)))


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    def parse_number(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = kind(-1)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text}: a number from {low:g} to {high:g}")
        return number

    return parse_number


def _picture(text: str) -> Path:
    path = Path(text).absolute()
    if path.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text}: the name has to end in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: there is no folder {path.parent}")
    return path


def _new_folder(text: str) -> Path:
    path = Path(text).absolute()
    if path.exists():
        raise argparse.ArgumentTypeError(f"{text} is there already")
    return path
