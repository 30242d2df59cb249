"""Seqs, and what several consumers got of one stream: the judge sees what does not fit together."""

import pytest

from tests.support.sim_stories import PerfectRelay
from tests.support.sim_verdicts import STRICT, good, judge, only, told
from tools.simulator.oracle.judge import Judge, Policy, Session


def test_a_seq_that_goes_back_in_a_session() -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    crooked = [*reading[:3], reading[4], reading[3], *reading[5:]]
    found = Judge(story.ledger, STRICT).judge([crooked], reading)
    assert only(found) == "seq went back"


def test_a_seq_that_means_two_things() -> None:
    story = told()
    relay, other = PerfectRelay(), PerfectRelay(first_seq=14)
    reading = relay.take(story.emissions)
    last = good(story)[12]
    seen = [*reading[:13], other.send(last)]
    found = Judge(story.ledger, STRICT).judge([seen], reading)
    assert only(found) == "seq reused"


def test_a_seq_that_is_given_out_late() -> None:
    """A consumer that has seen a higher one never gets it."""
    story = told()
    reading = PerfectRelay().take(story.emissions)
    assert only(judge(story, reading, sessions=[reading[:3] + reading[4:]])) == "seq skipped"


def test_a_gap_at_a_reconnect() -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    sessions = [Session(reading[:5], cursor=0), Session(reading[4:], cursor=5)]
    assert judge(story, reading, sessions=sessions).ok
    sessions[1] = Session(reading[6:], cursor=5)
    assert only(judge(story, reading, sessions=sessions)) == "seq skipped"


def test_a_frame_that_says_another_seq() -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    reading[4] = reading[4]._replace(wire=reading[5].wire.replace(b"\x63seq\x06", b"\x63seq\x05", 1), seq=5)
    assert "twice" in judge(story, reading).totals
    reading = PerfectRelay().take(story.emissions)
    reading[-1] = reading[-1]._replace(seq=99)
    assert only(judge(story, reading)) == "seq wrong"


@pytest.mark.parametrize(
    ("policy", "ok"),
    [
        (Policy("strict", durability="fsync"), False),
        (Policy("strict", durability="fsync", power_lost=True), False),
        (Policy("strict", durability="flush"), False),
        (Policy("strict", durability="flush", power_lost=True), True),
        (Policy("strict", durability="fsync", oldest_seq=1000), True),
    ],
)
def test_what_was_seen_and_is_gone(policy: Policy, ok: bool) -> None:
    """In the last cases the event comes again under a higher seq, or retention took it."""
    story = told()
    relay = PerfectRelay()
    seen = relay.take(story.emissions)
    final = seen[:-3] + PerfectRelay(first_seq=1000).take(good(story)[-3:])
    if policy.oldest_seq > 1:
        final = []
    found = Judge(story.ledger, policy).judge([seen], final)
    assert found.ok is ok, found.summary()
    if not ok:
        assert "gone" in found.totals


def test_a_seq_is_not_used_again_after_a_power_loss_either() -> None:
    story = told()
    seen = PerfectRelay().take(story.emissions)
    again = PerfectRelay(first_seq=len(seen) - 1).take(good(story)[-1:])
    found = Judge(story.ledger, Policy("strict", durability="flush", power_lost=True)).judge([seen], seen[:-2] + again)
    assert "seq reused" in found.totals
