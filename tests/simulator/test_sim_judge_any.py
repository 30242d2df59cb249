"""The judge over any history: a right one is never objected to, one that is broken anywhere always is."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sim_stories import DID, OTHER, PerfectRelay, Story, parts, retell
from tools.simulator.model import Emission, Intent
from tools.simulator.oracle.history import MAY, MUST, History
from tools.simulator.oracle.judge import Judge, Policy, Received, Session
from tools.simulator.oracle.ledger import Ledger
from tools.simulator.worlds.world import HOSTILE, LIFELIKE, World, WorldConfig

Reading = list[Received]

ACTS = (
    "commit",
    "sync",
    "identity",
    "account",
    "settled",
    "bad",
    "repeated",
    "forged",
    "rotate",
    "migrate",
    "poison",
    "bare",
)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    story = Story()
    hosts = {DID: 0, OTHER: 1}
    for did, host in hosts.items():
        story.introduce(did, host)
    for act in draw(st.lists(st.sampled_from(ACTS), min_size=5, max_size=40)):
        did = draw(st.sampled_from([DID, OTHER]))
        match act:
            case "settled":
                story.ledger.settled()
            case "bad":
                intent = draw(
                    st.sampled_from([Intent.BAD_SIGNATURE, Intent.HIGH_S, Intent.BAD_PROOF, Intent.FUTURE_REV])
                )
                story.commit(did, hosts[did], intent=intent)
            case "repeated":
                last = next(one for one in reversed(story.emissions) if one.did == did and one.kind == "#commit")
                if last.intent is Intent.GOOD:
                    story.again(last)
            case "forged":
                story.identity(did, 1 - hosts[did], intent=Intent.FORGED_IDENTITY)
            case "rotate" | "migrate":
                hosts[did] = hosts[did] if act == "rotate" else 1 - hosts[did]
                story.document(did, hosts[did], f"key{len(story.emissions)}")
                story.identity(did, hosts[did])
                story.account(did, hosts[did])
                story.sync(did, hosts[did])
            case "poison":
                story.junk(Intent.POISON, hosts[did])
            case "bare":
                story.commit(did, hosts[did], intent=Intent.BARE, tooBig=...)
            case _:
                getattr(story, act)(did, hosts[did])
    return story


@st.composite
def readings(draw: st.DrawFn) -> tuple[Story, Policy, Reading, list[Session]]:
    """With all that must come out, some of what may, and a consumer that lost its connection at times."""
    story = draw(stories())
    policy = Policy(draw(st.sampled_from(["optimistic", "strict"])), draw(st.sampled_from(["strict", "ratchet"])))
    relay = PerfectRelay(first_seq=draw(st.sampled_from([1, 2, 1 << 33])))
    reading = []
    newest: dict[str, str] = {}
    for entry, emission, verdict in zip(
        story.ledger.entries, story.emissions, History(story.ledger, policy).verdicts, strict=True
    ):
        grows = entry.rev is None or entry.rev > newest.get(entry.did, "")
        if verdict.expectation is MUST or (verdict.expectation is MAY and grows and draw(st.booleans())):
            reading.append(relay.send(emission))
            if entry.rev is not None:
                newest[entry.did] = entry.rev
    places = sorted(draw(st.lists(st.integers(1, len(reading) - 1), max_size=3)))
    sessions = [
        Session(reading[max(start - 1, 0) : end], cursor=reading[start - 1].seq if start else 0)
        for start, end in zip([0, *places], [*places, len(reading)], strict=True)
    ]
    return story, policy, reading, sessions


@settings(max_examples=60, deadline=None)
@given(readings())
def test_right_histories_are_never_objected_to(case: tuple[Story, Policy, Reading, list[Session]]) -> None:
    story, policy, reading, sessions = case
    found = Judge(story.ledger, policy).judge(sessions, reading)
    assert found.ok, found.summary()


@settings(max_examples=120, deadline=None)
@given(readings(), st.data())
def test_broken_histories_are_always_objected_to(
    case: tuple[Story, Policy, Reading, list[Session]], data: st.DataObject
) -> None:
    story, policy, reading, sessions = case
    history = History(story.ledger, policy)
    musts = [
        place
        for place, one in enumerate(reading)
        if any(
            verdict.expectation is MUST and parts(one.wire)[1]["time"] == parts(emission.wire)[1]["time"]
            for emission, verdict in zip(story.emissions, history.verdicts, strict=True)
            if emission.kind == one.kind
        )
    ]
    place = data.draw(st.sampled_from(musts), label="place")
    one = reading[place]
    way = data.draw(st.sampled_from(["drop", "twice", "swap", "byte", "reuse", "lose", "header"]), label="way")
    broken = list(reading)
    match way:
        case "drop" | "lose":
            del broken[place]
        case "twice":
            last = reading[-1].seq + 1
            broken += [retell(one, lambda payload: payload.update(seq=last))] * 1
            broken += [retell(one, lambda payload: payload.update(seq=last + 1))]
        case "swap":
            did = parts(one.wire)[1].get("repo", parts(one.wire)[1].get("did"))
            near = [
                other
                for other in range(place + 1, len(reading))
                if parts(reading[other].wire)[1].get("repo", parts(reading[other].wire)[1].get("did")) == did
                and ordered(story, reading[place], reading[other])
            ]
            if not near:
                return
            other = near[0]
            seqs = one.seq, reading[other].seq
            broken[place] = retell(reading[other], lambda payload: payload.update(seq=seqs[0]))
            broken[other] = retell(one, lambda payload: payload.update(seq=seqs[1]))
        case "byte":
            at = data.draw(st.integers(0, len(one.wire) - 1), label="at")
            bit = 1 << data.draw(st.integers(0, 7), label="bit")
            wire = one.wire[:at] + bytes([one.wire[at] ^ bit]) + one.wire[at + 1 :]
            broken[place] = one._replace(wire=wire)
        case "reuse":
            broken.insert(place + 1, broken[place]._replace(wire=reading[place - 1].wire))
        case _:
            broken[place] = one._replace(wire=one.wire.replace(b"\xa2\x61t", b"\xa3\x61a\xf6\x61t", 1))
    if way == "lose":
        found = Judge(story.ledger, policy).judge(sessions, broken)
    else:
        found = Judge(story.ledger, policy).judge([], broken)
    assert not found.ok, way


def ordered(story: Story, one: Received, other: Received) -> bool:
    """Emitted by the same host, so that their order is beyond doubt; and not the same event."""
    places = []
    for received in (one, other):
        time = parts(received.wire)[1]["time"]
        places.append(
            [
                emission
                for emission in story.emissions
                if received.kind == emission.kind and time in str(parts(emission.wire))
            ]
        )
    [first, *more], [second, *others] = places
    return not more and not others and first.host == second.host


# --- the real world of events


@pytest.mark.parametrize("validation", ["optimistic", "strict"])
def test_a_hostile_world_and_a_relay_without_faults(validation: Any) -> None:
    """Played in rounds, as a test plays it that waits for the relay between them."""
    rare = {Intent.LARGE, Intent.TOO_MANY_BYTES, Intent.POISON, Intent.TEXT, Intent.OVERSIZED_FRAME, Intent.ERROR}
    rare |= {Intent.INFO, Intent.TOO_MANY_OPS, Intent.LARGE_RECORD}
    world, story, relay = World(WorldConfig(seed=7)), Story(), PerfectRelay()
    steps = [*world.documents(), *world.run(1500, mix=HOSTILE)]
    for start in range(0, len(steps), 60):
        story.ledger.extend(steps[start : start + 60])
        story.ledger.settled()
    reading = relay.take(steps)
    policy = Policy(validation)
    found = Judge(story.ledger, policy).judge(
        [reading], reading, world.ends(), relay.accounts.get, expect_intents=set(Intent) - rare
    )
    assert found.ok, found.summary()
    must = sum(tally.must for tally in found.tallies.values())
    assert must > 0.6 * len(reading), found.summary()
    careless = PerfectRelay(
        also=set(Intent) - {Intent.POISON, Intent.TEXT, Intent.OVERSIZED_FRAME, Intent.INFO, Intent.ERROR}
    )
    readable = [step for step in steps if not isinstance(step, Emission) or step.kind.startswith("#")]
    found = Judge(story.ledger, policy).judge([], careless.take(readable))
    forbidden = sum(tally.must_not for tally in found.tallies.values())
    junk = sum(isinstance(step, Emission) and not step.kind.startswith("#") for step in steps)
    assert found.totals["forbidden"] > 0.5 * (forbidden - junk), found.summary()


@pytest.mark.slow
def test_two_hundred_thousand_events_are_judged_in_less_than_a_minute() -> None:
    world, ledger, relay = World(WorldConfig(accounts_per_host=20)), Ledger(), PerfectRelay()
    steps = [*world.documents(), *world.run(20_000, mix=LIFELIKE)]
    reading = relay.take(steps)
    ledger.extend(steps)
    began = time.monotonic()
    found = Judge(ledger, Policy()).judge([reading], reading, world.ends(), relay.accounts.get)
    took_s = time.monotonic() - began
    assert found.ok, found.summary()
    assert took_s * 10 < 60, f"{took_s:.1f} s for {len(steps)} steps"
