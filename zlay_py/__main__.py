"""`python -m zlay_py [options]` is `zlay serve [options]`."""

import sys

from zlay_py.cli.main import run

if __name__ == "__main__":
    run(["serve", *sys.argv[1:]])
