"""The simulated network in a process of its own: `python -m tools.bench.hosts FOLDER`.

Prints where the directory and the hosts are, as JSON. Once it has read a line from its standard input, every host sends
what was signed ahead, as fast as its reader reads. Ends with its standard input.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import json
import sys
from pathlib import Path

from gevent.fileobject import FileObject

from tools.simulator.ahead.serving import Serving


def main(folder: Path) -> None:
    commands = FileObject(sys.stdin.buffer.fileno(), "rb", closefd=False)
    with Serving(folder) as serving:
        network = serving.network
        print(json.dumps({"plc": network.plc.url, "hosts": [host.name for host in network.hosts]}), flush=True)
        if commands.readline():
            serving.play()
        commands.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
