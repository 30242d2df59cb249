"""The judge has to be able to say no: for each of its rules a history that breaks just this one; and it must not say no
to a history that is right."""

from typing import Any

from tests.support.sim_stories import DID, OTHER, PerfectRelay, Story, frame, parts, retell
from tests.support.sim_verdicts import STRICT, good, judge, only, told
from tools.simulator.model import AccountEnd, Intent
from tools.simulator.oracle.history import MAY, MUST, History
from tools.simulator.oracle.judge import Findings, Judge, Policy, Received


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


def test_no_reason_is_given_for_a_host_that_gave_none() -> None:
    story, relay = told(), PerfectRelay()
    story.account(DID, active=False)
    reading = relay.take(story.emissions)
    end = AccountEnd(DID, 0, active=False, status=None, rev=relay.accounts[DID]["rev"])
    assert judge(story, reading, ends=[end], repo_status=relay.accounts.get).ok
    relay.accounts[DID]["status"] = "takendown"
    assert only(judge(story, reading, ends=[end], repo_status=relay.accounts.get)) == "end"


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
