"""`make bench`: what an event costs, part by part, and what the whole relay takes. Prints one JSON object.

    steps        each step of an event from frame to log record
    path         all of them together, with lanes, log writer and projection into SQL
    projection   account states into SQL
    fanout       from the tail to consumers' sockets
    throughput   a relay under gunicorn between a simulated network and a consumer

The simulated frames have the real network's shape: repositories of 10,000 records, mostly one operation, about eight
tree nodes. The recorded ones, where that folder is present, come from small repositories.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()  # as the relay runs

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from tools.bench import fanout, path, projection, simulated, steps, throughput, workload
from tools.bench.measure import Watch, machine
from tools.bench.sampler import Sampler
from tools.bench.sizes import FULL, QUICK, Sizes
from tools.bench.workload import Workload
from zlay_py import logs
from zlay_py.settings import Settings

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
PARTS = ("steps", "path", "projection", "fanout", "throughput")


class Bench:
    """The parts, each a JSON object. Workloads are made when they are asked for first."""

    def __init__(self, sizes: Sizes, corpus: Path, database_url: str | None, sampler: Sampler | None) -> None:
        self._sizes = sizes
        self._corpus = corpus
        self._database_url = database_url
        self._sampler = sampler

    def part(self, name: str) -> object:
        measure = {
            "steps": self._steps,
            "path": self._path,
            "projection": self._projection,
            "fanout": self._fanout,
            "throughput": self._throughput,
        }
        return measure[name]()

    @cached_property
    def _simulated(self) -> Workload:
        return simulated.workload(self._sizes)

    @cached_property
    def _workloads(self) -> list[Workload]:
        """The simulated one, and the recorded one where it is present."""
        recorded = [workload.recorded(self._corpus)] if self._corpus.is_dir() else []
        return [self._simulated, *recorded]

    def _steps(self) -> object:
        result = {}
        for load in self._workloads:
            found = workload.samples(load, self._sizes.samples)
            result[load.name] = {
                "shape": workload.shape(found),
                "cpu_us_per_event": steps.measure(found, self._sizes.rounds),
            }
        return result

    def _path(self) -> object:
        return {load.name: path.measure(load, self._sizes.rounds, self._sampler) for load in self._workloads}

    def _projection(self) -> object:
        return projection.measure(self._sizes.projection, self._sizes.rounds, self._database_url)

    def _fanout(self) -> object:
        payloads = [item.frame.payload for item in workload.samples(self._simulated, self._sizes.samples)]
        return fanout.measure(payloads, self._sizes.fanout, self._sizes.rounds)

    def _throughput(self) -> object:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            return throughput.measure(Path(folder), self._sizes)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be given again for another")
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works: no numbers to go by")
    parser.add_argument("--fixtures", type=Path, default=Path(os.environ.get("ZLAY_FIXTURES") or FIXTURES))
    parser.add_argument("--database-url", help="an empty database to project into as well")
    parser.add_argument("--profile", action="store_true", help="tell where the time of the path goes, on stderr")
    given = parser.parse_args(arguments)
    logs.configure(Settings.model_validate({"RELAY_LOG_LEVEL": "warning"}))
    sampler = Sampler() if given.profile else None
    bench = Bench(QUICK if given.quick else FULL, given.fixtures / "corpus", given.database_url, sampler)
    report = run(bench, given.only or PARTS)
    print(json.dumps(report, indent=2))
    if sampler is not None:
        print(json.dumps(sampler.report(), indent=2), file=sys.stderr)
    return 0


def run(bench: Bench, parts: Iterable[str]) -> dict[str, object]:
    report: dict[str, object] = {"machine": machine()}
    cores_of_others: dict[str, float] = {}
    for name in parts:
        watch = Watch()
        report[name] = bench.part(name)
        cores_of_others[name] = watch.others()
    return {**report, "cores_used_by_others": cores_of_others}


if __name__ == "__main__":
    sys.exit(main())
