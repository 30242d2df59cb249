"""The judge has to be able to say no: for each of its rules a history that breaks just this one; and it must not say no
to a history that is right."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.sim_stories import DID, OTHER, PerfectRelay, Story, frame, parts, retell
from tools.simulator.history import MAY, MUST, History
from tools.simulator.judge import Findings, Judge, Policy, Received, Session
from tools.simulator.model import AccountEnd, Emission, Intent

STRICT = Policy(validation="strict")
Reading = list[Received]


def told() -> Story:
    """Two accounts on two hosts, a fault that must not come out, and all of it settled."""
    story = Story()
    story.introduce(DID, 0)
    story.introduce(OTHER, 1)
    story.ledger.settled()
    for _ in range(3):
        story.commit(DID)
        story.commit(OTHER, 1)
    story.commit(DID, intent=Intent.BAD_SIGNATURE)
    story.sync(DID)
    story.account(OTHER, 1, active=False, status="deactivated")
    story.ledger.settled()
    return story


def judge(
    story: Story, reading: Reading, *, sessions: list[Any] | None = None, policy: Policy = STRICT, **asked: Any
) -> Findings:
    return Judge(story.ledger, policy, host_names=["a.test", "b.test"]).judge(
        [reading] if sessions is None else sessions, reading, **asked
    )


def only(found: Findings) -> str:
    """The one kind of wrong that was found."""
    [kind] = found.totals
    return kind


def good(story: Story) -> list[Emission]:
    return [emission for emission in story.emissions if emission.intent is Intent.GOOD]


def test_a_right_history_is_right_and_counted() -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    found = judge(story, reading, expect_intents=[Intent.GOOD, Intent.BAD_SIGNATURE])
    assert found.ok, found.summary()
    assert (found.tallies[Intent.GOOD].must, found.tallies[Intent.GOOD].came_out) == (14, 14)
    assert (found.tallies[Intent.BAD_SIGNATURE].must_not, found.tallies[Intent.BAD_SIGNATURE].came_out) == (1, 0)


def test_a_loss_is_told_with_all_that_is_needed_to_find_it() -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    lost = reading.pop(7)
    found = judge(story, reading)
    assert only(found) == "lost"
    entry = next(emission for emission in story.emissions if emission.rev == parts(lost.wire)[1]["rev"])
    [text] = found.wrong
    for word in (
        "b.test",
        f"seq {entry.seq} ",
        entry.kind,
        entry.did,
        str(entry.rev),
        "(good)",
        "must come out",
        "sync spec",
    ):
        assert word in text


def test_what_is_forbidden() -> None:
    story = told()
    relay = PerfectRelay(also=[Intent.BAD_SIGNATURE])
    found = judge(story, relay.take(story.emissions))
    assert found.totals == {"forbidden": 1}
    assert "(bad_signature)" in found.wrong[0]


def test_what_comes_twice() -> None:
    story = told()
    relay = PerfectRelay()
    reading = [*relay.take(story.emissions), relay.send(story.emissions[2])]
    assert only(judge(story, reading)) == "twice"


def test_what_nobody_emitted_and_what_the_relay_may_say_itself() -> None:
    story, other = told(), Story()
    relay = PerfectRelay()
    made_up = other.account(DID, active=False, status="takendown")
    reading = [*relay.take(story.emissions), relay.send(made_up)]
    assert only(judge(story, reading)) == "stranger"
    found = judge(story, reading, policy=Policy(validation="strict", own_accounts=frozenset({DID})))
    assert found.ok
    assert found.own == 1


def test_the_order_of_one_did() -> None:
    story = told()
    story.identity(DID)
    story.account(DID)
    *before, identity, account = good(story)
    reading = PerfectRelay().take([*before, account, identity])
    found = judge(story, reading)
    assert only(found) == "disordered"


def test_the_order_of_different_dids_is_free() -> None:
    story = Story()
    story.introduce(DID, 0)
    story.introduce(OTHER, 0)
    assert judge(story, PerfectRelay().take(story.emissions[3:] + story.emissions[:3])).ok


def test_the_order_over_a_migration() -> None:
    """Two hosts' sockets have no order between them, but what was settled came before."""
    story = told()
    commit = story.commit(DID)
    story.ledger.settled()
    story.document(DID, 1, "key2")
    identity = story.identity(DID, 1)
    rest = story.emissions[:-2]
    assert judge(story, PerfectRelay().take([*rest, commit, identity])).ok
    assert only(judge(story, PerfectRelay().take([*rest, identity, commit]))) == "disordered"


def test_a_rev_that_goes_back() -> None:
    """Two commits of doubt, each allowed, and out in the wrong order from two hosts."""
    story = told()
    late = story.commit(DID, 0)
    story.document(DID, 1, "key2")
    new = [story.account(DID, 1), story.sync(DID, 1)]
    rest = story.emissions[:-3]
    assert judge(story, PerfectRelay().take([*rest, late, *new])).ok
    assert judge(story, PerfectRelay().take([*rest, *new])).ok
    assert only(judge(story, PerfectRelay().take([*rest, *new, late]))) == "rev went back"


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


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("#commit", lambda payload: payload.update(blocks=b"c" * 9)),
        ("#commit", lambda payload: payload.update(time="2026-02-02T00:00:00.000Z")),
        ("#commit", lambda payload: payload.update(more=1)),
        ("#commit", lambda payload: payload.pop("blobs")),
        ("#commit", lambda payload: payload.pop("prevData")),
        ("#commit", lambda payload: payload.update(tooBig=True)),
        ("#sync", lambda payload: payload.update(blocks=b"")),
        ("#identity", lambda payload: payload.update(handle="other.test")),
        ("#account", lambda payload: payload.update(active=not payload["active"])),
        ("#account", lambda payload: payload.update(status="suspended")),
    ],
)
def test_changed_payloads(kind: str, change: Callable[[dict[str, Any]], None]) -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    place = max(place for place, one in enumerate(reading) if one.kind == kind)
    reading[place] = retell(reading[place], change)
    found = judge(story, reading)
    assert only(found) == "changed", found.summary()
    assert kind in found.wrong[0]


def test_what_is_forbidden_is_so_when_it_is_changed_too() -> None:
    story = told()
    reading = PerfectRelay(also=[Intent.BAD_SIGNATURE]).take(story.emissions)
    place = next(place for place, one in enumerate(reading) if parts(one.wire)[1]["seq"] == 13)
    reading[place] = retell(reading[place], lambda payload: payload.update(blocks=b""))
    assert judge(story, reading).totals == {"changed": 1, "forbidden": 1}


def test_what_is_forbidden_is_so_when_a_power_loss_takes_it_back() -> None:
    story = told()
    policy = Policy("strict", durability="flush", power_lost=True)
    seen = PerfectRelay(also=[Intent.BAD_SIGNATURE]).take(story.emissions)
    bad = next(place for place, one in enumerate(seen) if one.seq == 13)
    found = Judge(story.ledger, policy).judge([seen], seen[:bad] + seen[bad + 1 :])
    assert found.totals == {"forbidden": 1}
    stranger = Story()
    seen.append(PerfectRelay(first_seq=50).send(stranger.commit(OTHER, 1)))
    assert Judge(story.ledger, policy).judge([seen], seen[:bad] + seen[bad + 1 : -1]).totals == {
        "forbidden": 1,
        "stranger": 1,
    }


def test_which_field_was_changed_is_said() -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    reading[6] = retell(reading[6], lambda payload: payload.update(blocks=b"", extra=1))
    found = judge(story, reading)
    assert "with other blocks, +extra" in found.wrong[0]


def test_unknown_fields_survive_and_missing_ones_are_filled_in() -> None:
    story = told()
    story.commit(DID, intent=Intent.UNKNOWN_FIELDS, future={"a": [1]})
    story.commit(DID, intent=Intent.BARE, blobs=..., rebase=...)
    reading = PerfectRelay().take(story.emissions)
    assert judge(story, reading).ok
    reading[-2] = retell(reading[-2], lambda payload: payload.pop("future"))
    found = judge(story, reading)
    assert found.totals == {"changed": 1}
    assert "-future" in found.wrong[0]
    reading = PerfectRelay().take(story.emissions)
    reading[-1] = retell(reading[-1], lambda payload: payload.pop("rebase"))
    found = judge(story, reading)
    assert found.totals == {"changed": 1}
    assert "not filled in: rebase" in found.wrong[0]


def test_other_bytes_for_the_same_payload() -> None:
    """Keys in another order, a header with more in it, a number in more bytes: equal when decoded, and changed."""
    story = told()
    for before, after in (
        (b"\x63seq\x05", b"\x63seq\x18\x05"),
        (b"op\x01\xab", b"op\x01\xb8\x0b"),
        (b"\xa2\x61t", b"\xa3\x61a\x00\x61t"),
        (b"\x68prevData", b"\x68prevDatb"),
    ):
        reading = PerfectRelay().take(story.emissions)
        place = {b"\x63seq\x05": 4, b"\xa2\x61t": -2}.get(before, 2)
        assert before in reading[place].wire
        reading[place] = reading[place]._replace(wire=reading[place].wire.replace(before, after))
        assert only(judge(story, reading)) == "changed"


def test_handles_may_stay_but_not_a_strangers() -> None:
    story = told()
    own = story.identity(DID)
    forged = story.identity(DID, 1, intent=Intent.FORGED_IDENTITY)

    def keep(emission: Emission) -> Findings:
        reading = PerfectRelay().take(story.emissions)
        place = -2 if emission is own else -1
        reading[place] = retell(reading[place], lambda payload: payload.update(handle="someone.test"))
        return judge(story, reading)

    assert keep(own).ok
    assert only(keep(forged)) == "changed"


def test_a_local_takedown_is_combined_with_what_the_host_says() -> None:
    story = told()
    story.account(DID)
    reading = PerfectRelay().take(story.emissions)
    reading[-1] = retell(reading[-1], lambda payload: payload.update(active=False, status="takendown"))
    assert only(judge(story, reading)) == "changed"
    assert judge(story, reading, policy=Policy("strict", local_status={DID: "takendown"})).ok


def test_stream_messages_that_no_consumer_should_get() -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    info = Received(0, "#info", frame({"op": 1, "t": "#info"}, {"name": "OutdatedCursor"}))
    error = Received(0, "error", frame({"op": -1}, {"error": "ConsumerTooSlow"}))
    for message in (info, error):
        found = judge(story, reading, sessions=[[message, *reading]])
        assert only(found) == "stream message"
        assert parts(message.wire)[1].get("name", "ConsumerTooSlow") in found.wrong[0]
    assert judge(story, reading, sessions=[[info, *reading]], policy=Policy("strict", oldest_seq=2)).totals == {
        "seq wrong": 1
    }


def test_a_host_that_says_future_cursor_puts_its_own_events_in_doubt() -> None:
    story = told()
    story.commit(DID)
    story.junk(Intent.ERROR, wire=frame({"op": -1}, {"error": "FutureCursor"}))
    story.identity(OTHER, 1)
    first, _, other = [verdict.expectation for verdict in History(story.ledger, STRICT).verdicts[-3:]]
    assert (first, other) == (MAY, MUST)


def test_how_it_ends() -> None:
    story = told()
    relay = PerfectRelay()
    reading = relay.take(story.emissions)
    rev = relay.accounts[DID]["rev"]
    there = AccountEnd(DID, 0, active=True, status=None, rev=rev)
    gone = AccountEnd(OTHER, 1, active=False, status="deactivated", rev=relay.accounts[OTHER]["rev"])

    def ends(**changes: Any) -> Findings:
        answers = relay.accounts | {DID: relay.accounts[DID] | changes}
        return judge(story, reading, ends=[there, gone], repo_status=answers.get)

    assert ends().ok, ends().summary()
    for changes in (
        {"rev": "3k00000000000"},
        {"rev": None},
        {"active": False},
        {"did": OTHER},
        {"status": "desynchronized"},
    ):
        assert only(ends(**changes)) == "end", changes
    assert only(judge(story, reading, ends=[there], repo_status=lambda did: None)) == "end"
    elsewhere = AccountEnd(DID, 0, active=True, status=None, rev="3kzzzzzzzzzzz")
    assert "another rev" in judge(story, reading, ends=[elsewhere], repo_status=relay.accounts.get).wrong[0]


def test_what_shows_nothing_is_refused() -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    assert only(judge(Story(), [], sessions=[])) == "vacuous"
    assert only(judge(story, reading, sessions=[[], []])) == "vacuous"
    assert only(judge(story, reading, expect_intents=[Intent.OLD_KEY])) == "vacuous"
    story.commit(DID, intent=Intent.OLD_REV)
    story.document(DID, 1, "key2")
    story.account(DID, 0, intent=Intent.LATE_GOODBYE)
    reading = PerfectRelay().take(story.emissions)
    assert judge(
        story, reading, expect_intents=[Intent.LATE_GOODBYE], expect_decided=[Intent.OLD_REV]
    ).totals.keys() <= {"vacuous"}
    assert only(judge(story, reading, expect_decided=[Intent.LATE_GOODBYE])) == "vacuous"


def test_a_flood_is_counted_and_not_printed() -> None:
    story = told()
    for _ in range(50):
        story.commit(DID)
    found = Judge(story.ledger, STRICT, printed_max=5).judge([], PerfectRelay().take(story.emissions[:15]))
    assert found.totals == {"lost": 50}
    assert len(found.wrong) == 5
    assert "lost: 45 more" in found.summary()


def test_a_copy_that_may_come_does_not_hide_that_the_one_that_must_is_lost() -> None:
    story = told()
    first = story.account(DID)
    story.commit(DID)
    second = story.again(first)
    story.commit(DID)
    reading = PerfectRelay(also=[Intent.REPEATED]).take(story.emissions)
    assert judge(story, reading).ok
    for missing in (-2, -4):
        found = judge(story, reading[:missing] + reading[missing + 1 :])
        assert "lost" in found.totals
        assert f"seq {second.seq if missing == -2 else first.seq} " in found.wrong[0]


def test_a_last_word_that_need_not_come_is_not_insisted_on_in_the_end() -> None:
    story, relay = told(), PerfectRelay()
    reading = relay.take(story.emissions)
    late, gone = story.commit(DID), story.account(DID, active=False, status="deactivated")
    story.document(DID, 1, "key2")  # before anybody can say that the relay was done with these
    end = AccountEnd(DID, 0, active=False, status="deactivated", rev=late.rev)
    assert judge(story, reading, ends=[end], repo_status=relay.accounts.get).ok
    reading += relay.take([late, gone])
    assert judge(story, reading, ends=[end], repo_status=relay.accounts.get).ok
    relay.accounts[DID]["active"] = True
    assert only(judge(story, reading, ends=[end], repo_status=relay.accounts.get)) == "end"
