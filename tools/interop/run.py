"""`make interop`: starts everything on loopback, lets two reference PDSes emit their edge cases and load, and prints
one table and `N passed, M failed`. Exit status 0: all passed, or skipped for a named reason.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
import urllib.error
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from tools.interop import network
from tools.interop.judge import Drop, Findings, Judge
from tools.interop.network import Process
from tools.interop.recorder import Event, Recorder

RATE_DEFAULT = 40
DURATION_S_DEFAULT = 30
SETTLE_S = 60.0
"""For the last events to come through after the load ended."""


@dataclass
class Report:
    """The table, row by row."""

    rows: list[tuple[str, str, bool | None]] = field(default_factory=list)

    def check(self, what: str, seen: object, good: bool) -> None:
        self.rows.append((what, str(seen), good))

    def tell(self, what: str, seen: object) -> None:
        self.rows.append((what, str(seen), None))

    def show(self) -> int:
        table = Table(title="interop", show_lines=False)
        table.add_column("what")
        table.add_column("seen", overflow="fold")
        table.add_column("")
        marks = {True: "[green]passed[/]", False: "[red]FAILED[/]", None: ""}
        for what, seen, good in self.rows:
            table.add_row(what, seen, marks[good])
        Console(width=140).print(table)
        failed = sum(good is False for *_, good in self.rows)
        print(f"{sum(good is True for *_, good in self.rows)} passed, {failed} failed")
        return 1 if failed else 0


@dataclass
class Run:
    """One run: the processes and what was recorded."""

    stack: ExitStack
    folder: Path
    packages: Path
    report: Report = field(default_factory=Report)

    def start_network(self, arguments: argparse.Namespace) -> None:
        control = network.free_port()
        node = str(self.packages / "node22" / "bin" / "node")
        load = ["--rate", str(arguments.rate), "--duration", str(arguments.duration), "--accounts", "5"]
        command = [node, "start.mjs", "--pds", "2", "--edge", "--hold", "--start-delay", "8", "--control", str(control)]
        self.net = self._enter("pds", [*command, *load, "--seed", str(arguments.seed)], self.packages)
        first = json.loads(self.net.line() or "{}")
        self.plc_url, self.pds_urls = str(first["plcUrl"]), [str(url) for url in first["pds"]]
        self.control = str(first["control"])
        self.hosts = [url.removeprefix("http://") for url in self.pds_urls]
        self.sources = {host: Recorder(url).start() for host, url in zip(self.hosts, self.pds_urls, strict=True)}

    def start_relay(self) -> None:
        port, metrics = network.free_port(), network.free_port()
        self.relay_url = f"http://127.0.0.1:{port}"
        self.relay = self.stack.enter_context(network.start_relay(self.folder, port, metrics, self.plc_url, self.hosts))
        network.wait_ready(self.relay_url, self.relay)
        self.out = Recorder(self.relay_url).start()

    def start_consumers(self) -> None:
        node = str(self.packages / "node22" / "bin" / "node")
        relay_ws = self.relay_url.replace("http", "ws", 1)
        typescript = [node, "consume.mjs", "--service", relay_ws, "--plc", self.plc_url, "--cursor", "0"]
        self.typescript = self._enter(
            "typescript", [*typescript, "--pds", ",".join(self.pds_urls), "--seconds", "100000"], self.packages
        )
        python = [str(self.packages / "pyvenv" / "bin" / "python"), "pyconsume.py", relay_ws, "--cursor", "0"]
        self.python = self._enter("python", [*python, "--parse", "--idle", "20"], self.packages)

    def wait_for_the_end(self, arguments: argparse.Namespace) -> None:
        """Until the load is over and the relay has read and judged everything that the PDSes emitted."""
        self.net.json_until("event", "done", timeout_s=300 + arguments.duration)
        last = {item["url"].removeprefix("http://"): item["seq"] for item in network.get_json(f"{self.control}/seq")}
        deadline = time.monotonic() + SETTLE_S
        for host, recorder in self.sources.items():
            recorder.wait(partial(reached, last[host]), SETTLE_S)
        while time.monotonic() < deadline:
            listed = network.get_json(f"{self.relay_url}/xrpc/com.atproto.sync.listHosts")["hosts"]
            if all(item.get("seq") == last.get(item["hostname"]) for item in listed):
                break
            self.out.wait(partial(grown_beyond, len(self.out.events)), 0.5)
        expected = sum(len(recorder.events) for recorder in self.sources.values()) - len(self.drops())
        self.out.wait(partial(grown_beyond, expected - 1), SETTLE_S)

    def drops(self) -> list[Drop]:
        found = []
        for line in self.relay.log.read_text().splitlines():
            if '"dropped"' not in line:
                continue
            item = json.loads(line)
            if item.get("event") == "dropped":
                found.append(Drop(item["host"], item["seq"], item["reason"], item["detail"]))
        return found

    def _enter(self, name: str, command: list[str], cwd: Path) -> Process:
        return self.stack.enter_context(Process(name, command, cwd=cwd, log=self.folder / f"{name}.log"))


def grown_beyond(count: int, events: list[Event]) -> bool:
    return len(events) > count


def reached(seq: int, events: list[Event]) -> bool:
    return bool(events) and events[-1].seq >= seq


def judge(run: Run) -> None:
    report, drops = run.report, run.drops()
    streams = {host: list(recorder.events) for host, recorder in run.sources.items()}
    out: list[Event] = list(run.out.events)
    dids = network.get_json(f"{run.control}/dids")
    findings: Findings = Judge(streams, out, drops, dids).run()
    for host, events in streams.items():
        report.tell(f"emitted by {host}", len(events))
    report.check("events that came out", len(out), len(out) > 0)
    for reason, count in sorted(findings.dropped.items()):
        report.tell(f"dropped: {reason}", count)
    balance = findings.emitted - findings.dropped.total() - findings.forwarded
    report.check("emitted - dropped - came out", balance, balance == 0)
    report.check("events wrongly lost, dropped, reordered or repeated", len(findings.wrong), not findings.wrong)
    for line in findings.wrong[:20]:
        report.tell("  wrong", line)
    check_heads(run, streams)


def check_heads(run: Run, streams: dict[str, list[Event]]) -> None:
    """The PDSes' own word on every account's last commit against the relay's."""
    heads: dict[str, Any] = network.get_json(f"{run.control}/heads")
    silent = set(heads) - {event.did for events in streams.values() for event in events if event.kind == "#commit"}
    agree, differ = 0, []
    for did, head in heads.items():
        if did in silent:
            continue
        try:
            status = network.get_json(f"{run.relay_url}/xrpc/com.atproto.sync.getRepoStatus?did={quote(did)}")
        except urllib.error.HTTPError as error:
            differ.append(f"{did}: the relay answers {error.code}")
            continue
        if not status["active"]:
            continue
        latest = network.get_json(f"{run.relay_url}/xrpc/com.atproto.sync.getLatestCommit?did={quote(did)}")
        same = (latest["rev"], latest["cid"]) == (head["rev"], head["commit"])
        agree += same
        if not same:
            differ.append(f"{did} at {latest['rev']}, PDS at {head['rev']}")
    run.report.check("active accounts whose head is the PDS's", f"{agree} of {agree + len(differ)}", not differ)
    for line in differ[:10]:
        run.report.tell("  differs", line)


def check_consumers(run: Run) -> None:
    report, last_seq = run.report, run.out.events[-1].seq
    python = json.loads(last_json(run.python, "summary"))
    report.check("Python SDK: errors, missing blocks, seqs backwards", counts(python, PYTHON_FAULTS), faultless(python))
    report.check("Python SDK: frames", python["frames"], python["frames"] == len(run.out.events))
    run.typescript.child.terminate()
    typescript = json.loads(last_json(run.typescript, "summary"))
    report.check("TypeScript consumer: errors", typescript["errors"], typescript["errors"] == 0)
    for kind, count in typescript["errorKinds"].items():
        report.tell("  error", f"{count} × {kind}")
    report.check("TypeScript consumer: last seq", typescript["lastSeq"], typescript["lastSeq"] == last_seq)
    report.tell("TypeScript consumer: events by kind", json.dumps(typescript["byEvent"]))
    report.check("TypeScript consumer: seqs backwards", typescript["seqBackwards"], typescript["seqBackwards"] == 0)


PYTHON_FAULTS = ("errors", "missingBlocks", "seqBackwards")


def counts(summary: dict[str, Any], names: tuple[str, ...]) -> str:
    return ", ".join(str(summary[name]) for name in names)


def faultless(summary: dict[str, Any]) -> bool:
    return not any(summary[name] for name in PYTHON_FAULTS)


def last_json(process: Process, kind: str) -> str:
    """The last line of that type before the process ends."""
    found = ""
    while (text := process.line()) is not None:
        if text.startswith("{") and json.loads(text).get("type") == kind:
            found = text
    if not found:
        raise RuntimeError(f"{process.name} printed no {kind}; see {process.log}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=RATE_DEFAULT, help="operations per second over both PDSes")
    parser.add_argument("--duration", type=int, default=DURATION_S_DEFAULT, help="seconds of load after the edge cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep logs and data, and say where")
    arguments = parser.parse_args()
    reason = network.missing()
    if reason is not None:
        print(f"interop skipped: {reason}")
        return 0
    packages = network.install()
    name = tempfile.mkdtemp(prefix="interop-")
    with ExitStack() as stack:
        if not arguments.keep:
            stack.callback(shutil.rmtree, name, ignore_errors=True)
        run = Run(stack, Path(name), packages)
        if arguments.keep:
            print(f"data and logs: {name}", file=sys.stderr)
        run.start_network(arguments)
        run.start_relay()
        run.start_consumers()
        run.wait_for_the_end(arguments)
        judge(run)
        check_consumers(run)
        return run.report.show()


if __name__ == "__main__":
    sys.exit(main())
