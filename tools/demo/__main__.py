"""`python -m tools.demo`: see `--help`."""

import sys

from tools.demo.signals import Interrupts


def main() -> int:
    interrupts = Interrupts()  # before anything takes time: a Ctrl-C must never meet Python's own handler
    from rich.console import Console

    from tools.demo import options, run

    wanted = options.parse()
    try:
        return run.run(wanted, interrupts, Console())
    except OSError:
        if interrupts.terminal_closed:
            return 1  # nothing can be written any more
        raise


if __name__ == "__main__":
    sys.exit(main())
