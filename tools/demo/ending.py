"""The end of a demo: a second consumer reads everything again, the judge says what it thinks, all programs end."""

import time
import urllib.error
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from tools.demo import draw
from tools.demo.consumer import Consumer
from tools.demo.draw import BAD, GOOD, count
from tools.demo.signals import Interrupts
from tools.demo.stage import Stage
from tools.simulator.model import AccountEnd
from tools.simulator.oracle.judge import Findings, Judge, Policy
from tools.simulator.oracle.ledger import Ledger
from tools.simulator.oracle.readings import Received

READ_S_MAX = 60.0
"""For the whole log to be read again; it takes about a second for each 20,000 events."""
LOOK_S = 0.05
WRONGS_SHOWN = 20
ENDS_MAX = 500
"""Accounts that the relay is asked about at the end; each is a request."""
POLICY = Policy(validation="optimistic", sync11="ratchet", durability="fsync")
"""The relay's defaults, with which it runs here."""
ALTERED = ("changed", "twice", "stranger", "disordered", "rev went back")
NUMBERED = ("seq wrong", "seq reused", "seq went back", "seq skipped", "gone", "stream message")


@dataclass(frozen=True, slots=True)
class Line:
    """Of the verdict. `good`: None where there is nothing to judge."""

    good: bool | None
    text: str

    def styled(self) -> Text:
        sign, style = {True: ("✓", GOOD), False: ("✗", BAD), None: ("·", "dim")}[self.good]
        return Text.assemble((f"{sign} ", f"bold {style}"), self.text)


def conclude(stage: Stage, interrupts: Interrupts, console: Console) -> bool:
    """Says how it went. Returns whether something is wrong. Raises DemoError, OSError for a program that has died."""
    sent, settled = stage.network.state.sent, stage.settled()
    findings = None if interrupts.hurry else judge(stage, interrupts)
    lines = []
    if findings is None:
        lines.append(Line(None, f"ended at once: the {count(sent)} events were not judged"))
    else:
        if not settled:
            # no fault by itself: what is lost by it is named as lost
            lines.append(
                Line(None, "the relay was still busy when the waiting ended, and is judged by what came until then")
            )
        lines += verdict(findings, len(stage.network.state.ends[:ENDS_MAX]))
    lines.append(end(stage, interrupts))
    time_s = draw.clock(stage.sampler.latest.elapsed_s)
    console.print(
        f"after {time_s}, with {draw.many(sent, 'event')} sent by {draw.many(len(stage.network.hosts), 'host')}:",
        highlight=False,
    )
    for line in lines:
        console.print(line.styled(), highlight=False, soft_wrap=True)
    for text in findings.wrong[:WRONGS_SHOWN] if findings else []:
        console.print(f"  {text}", style=BAD, markup=False, highlight=False, soft_wrap=True)
    return any(line.good is False for line in lines)


def judge(stage: Stage, interrupts: Interrupts) -> Findings | None:
    """What both consumers got, against the simulator's account of what it sent. None when there was no time for it."""
    again = read_again(stage, interrupts)
    if interrupts.hurry:
        return None
    ledger = Ledger.load(stage.network.ledger)
    ends = [AccountEnd(**end) for end in stage.network.state.ends[:ENDS_MAX]]
    judge = Judge(ledger, POLICY, host_names=stage.network.hosts, printed_max=WRONGS_SHOWN)
    return judge.judge([stage.consumer.received], again, ends, lambda did: repo_status(stage, did))


def read_again(stage: Stage, interrupts: Interrupts) -> list[Received]:
    """The whole log, by a fresh connection from cursor 0."""
    consumer = Consumer(stage.relay.ws_url, cursor=0)
    until_s = time.monotonic() + READ_S_MAX
    while consumer.last_seq < stage.consumer.last_seq and not consumer.ended and not interrupts.hurry:
        if time.monotonic() > until_s:
            break  # what is missing is the judge's to name
        interrupts.wait(LOOK_S)
    consumer.close()
    return consumer.received


def repo_status(stage: Stage, did: str) -> Mapping[str, Any] | None:
    try:
        answer: dict[str, Any] = stage.relay.get(f"/xrpc/com.atproto.sync.getRepoStatus?did={quote(did)}")
    except urllib.error.HTTPError:
        return None
    return answer


def verdict(findings: Findings, accounts: int) -> list[Line]:
    """In the order in which one asks. Whatever is wrong makes one of the lines wrong."""
    tallies, totals = findings.tallies.values(), findings.totals
    must = sum(tally.must for tally in tallies)
    may = sum(tally.may for tally in tallies)
    must_not = sum(tally.must_not for tally in tallies)
    lost, forbidden = totals["lost"], totals["forbidden"]
    may_out = sum(tally.came_out for tally in tallies) - (must - lost) - forbidden
    lines = [
        Line(not lost, f"{count(must)} events had to come out of the relay, and {_how_many(must - lost, must)} did"),
        _kept_back(must_not, forbidden),
        Line(not _any(totals, ALTERED), "each came out once, unchanged but for its seq, in its account's order"),
        Line(
            not _any(totals, NUMBERED),
            f"{count(findings.received)} seqs, none used twice; a second reading from cursor 0 got the same",
        ),
    ]
    if may:
        lines.append(
            Line(
                None,
                f"{count(may)} could go either way (a key had just changed, say): {_how_many(may_out, may)} came out",
            )
        )
    if accounts:
        known = f"the relay says of {draw.many(accounts, 'account')} what their hosts say of them"
        lines.append(Line(not totals["end"], known))
    rest = sum(totals.values()) - sum(totals[kind] for kind in {"lost", "forbidden", "end", *ALTERED, *NUMBERED})
    if rest:
        lines.append(Line(False, f"{count(rest)} other findings"))
    return lines


def _kept_back(number: int, came_out: int) -> Line:
    if not number:
        return Line(None, "nothing forged was sent in this short time")
    text = f"{count(number)} were forged, broken or repeated on purpose, and {_how_many(came_out, number)} came out"
    return Line(not came_out, text)


def _how_many(part: int, whole: int) -> str:
    return "none" if not part else "all" if part == whole else count(part)


def _any(totals: Mapping[str, int], kinds: Iterable[str]) -> bool:
    return any(totals.get(kind) for kind in kinds)


def end(stage: Stage, interrupts: Interrupts) -> Line:
    """The relay gets TERM, as from a service manager."""
    stage.sampler.stop()
    stage.consumer.close()
    status = stage.relay.child.end(lambda: interrupts.hurry)
    stage.network.child.kill()
    if interrupts.hurry:
        return Line(None, "the relay and the network were ended at once")
    return Line(
        not status,
        f"the relay ended in order, with status {status}" if not status else f"the relay ended with status {status}",
    )
