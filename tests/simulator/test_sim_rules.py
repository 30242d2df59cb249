"""What is owed for what, and where a relay may be in doubt: no further than the argument for it goes."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.sim_stories import DID, OTHER, Story
from tools.simulator.model import Emission, Intent
from tools.simulator.oracle.history import History
from tools.simulator.oracle.rules import RULES, Check, Expectation, Policy, rule, table

MUST, MAY, MUST_NOT = Expectation.MUST, Expectation.MAY, Expectation.MUST_NOT
STRICT, OPTIMISTIC = Policy("strict"), Policy("optimistic")
NEVER = [intent for intent in Intent if RULES[intent].check is Check.FRAME]


def last(story: Story, policy: Policy = STRICT) -> Expectation:
    return History(story.ledger, policy).verdicts[-1].expectation


def of(story: Story, emission: Emission, policy: Policy = STRICT) -> Expectation:
    return History(story.ledger, policy).verdicts[story.emissions.index(emission)].expectation


def settled(*tell: Callable[[Story], Any]) -> Story:
    """An account on host 0 that is known, another on host 1; then what is told."""
    story = Story()
    story.introduce(DID, 0)
    story.introduce(OTHER, 1)
    story.ledger.settled()
    for one in tell:
        one(story)
    return story


def test_there_is_a_rule_and_a_reason_for_every_intent() -> None:
    assert set(RULES) == set(Intent)
    assert all(len(why) > 20 for _, why in RULES.values())
    lines = table(Policy(sync11="lenient"))
    assert len(lines) == len(Intent)
    assert "wrong_prev_data      must " in "\n".join(lines)


@pytest.mark.parametrize(
    "intent", [Intent.GOOD, Intent.UNKNOWN_FIELDS, Intent.BARE, Intent.DISCONTINUOUS, Intent.LARGE]
)
@pytest.mark.parametrize("policy", [STRICT, OPTIMISTIC, Policy("strict", "strict"), Policy("optimistic", "lenient")])
def test_good_events_must_come_out(intent: Intent, policy: Policy) -> None:
    assert last(settled(lambda story: story.commit(intent=intent)), policy) is MUST


@pytest.mark.parametrize("intent", NEVER)
@pytest.mark.parametrize("policy", [STRICT, OPTIMISTIC, Policy("optimistic", "lenient")])
def test_what_the_frame_alone_forbids_never_comes_out(intent: Intent, policy: Policy) -> None:
    """Not even of an account that nobody knows."""
    story = Story()
    story.document()
    story.commit(intent=intent)
    assert last(story, policy) is MUST_NOT


@pytest.mark.parametrize("intent", [Intent.BAD_SIGNATURE, Intent.HIGH_S, Intent.FUTURE_REV, Intent.BAD_PROOF])
def test_an_optimistic_relay_passes_what_it_can_not_check_yet(intent: Intent) -> None:
    story = Story()
    story.document()
    commit = story.commit(intent=intent)
    sync = story.sync(intent=intent)
    after_sync = story.commit(intent=intent)
    elsewhere = story.commit(host=1, intent=intent)
    assert (of(story, commit), of(story, sync), of(story, after_sync)) == (MUST_NOT,) * 3
    assert [of(story, one, OPTIMISTIC) for one in (commit, sync, after_sync, elsewhere)] == [
        MAY,
        MUST_NOT,
        MUST_NOT,
        MAY,
    ]
    story.ledger.settled()
    story.commit(host=1, intent=intent)
    assert last(story, OPTIMISTIC) is MUST_NOT


def test_an_identity_learnt_before_a_kill_may_be_lost_and_one_that_was_settled_is_not() -> None:
    story = Story()
    story.document()
    story.account()
    story.ledger.restarted()
    story.commit(intent=Intent.BAD_SIGNATURE)
    assert last(story, OPTIMISTIC) is MAY
    story = settled(lambda story: story.ledger.restarted(), lambda story: story.commit(intent=Intent.BAD_SIGNATURE))
    assert last(story, OPTIMISTIC) is MUST_NOT


@pytest.mark.parametrize("intent", [Intent.BAD_PROOF, Intent.MISSING_BLOCK, Intent.WRONG_PREV_DATA])
def test_wrong_proofs_pass_a_lenient_relay_only(intent: Intent) -> None:
    story = settled(lambda story: story.commit(intent=intent))
    assert last(story, Policy("strict", "strict")) is MUST_NOT
    assert last(story, Policy("strict", "ratchet")) is MUST_NOT
    assert last(story, Policy("strict", "lenient")) is MUST, "the README says so"


BROKEN = [Intent.MISMATCHED, Intent.BAD_SLICE, Intent.MISSING_RECORD, Intent.LARGE_RECORD, Intent.TOO_MANY_OPS]


@pytest.mark.parametrize("intent", BROKEN)
@pytest.mark.parametrize("sync11", ["strict", "ratchet", "lenient"])
def test_what_is_no_commit_passes_no_relay_that_knows_the_account(intent: Intent, sync11: Any) -> None:
    for validation in ("strict", "optimistic"):
        assert last(settled(lambda story: story.commit(intent=intent)), Policy(validation, sync11)) is MUST_NOT


def without_prev_data(did: str = DID, host: int = 0) -> Callable[[Story], Emission]:
    return lambda story: story.commit(did, host, intent=Intent.MISSING_PREV_DATA, prevData=...)


def test_the_ratchet() -> None:
    story = settled(without_prev_data())
    assert last(story, Policy("strict", "strict")) is MUST_NOT
    assert last(story, Policy("strict", "lenient")) is MUST
    assert last(story) is MUST_NOT, "the host has sent prevData, and that is settled"
    bare = Story()
    bare.document()
    bare.account()
    first = without_prev_data()(bare)
    assert of(bare, first) is MUST
    sends = bare.commit()
    same, other = without_prev_data()(bare), without_prev_data(OTHER)(bare)
    assert (of(bare, sends), of(bare, first), of(bare, same), of(bare, other)) == (MUST, MAY, MUST_NOT, MAY)
    bare.document(OTHER, 0)
    bare.ledger.settled()
    without_prev_data(OTHER)(bare)
    assert last(bare) is MUST_NOT
    bare.ledger.restarted()
    without_prev_data(OTHER)(bare)
    assert last(bare) is MUST_NOT
    assert last(bare, Policy("strict", ratchet_forgets=True)) is MAY


def test_repetitions() -> None:
    story = settled()
    commit = story.commit()
    assert of(story, story.again(commit)) is MUST_NOT
    assert of(story, story.sync(intent=Intent.SYNC_REPEATED, rev=commit.rev)) is MUST_NOT
    assert of(story, story.commit(intent=Intent.OLD_REV, rev="3k00000000000")) is MUST_NOT
    assert of(story, story.again(story.account())) is MUST
    assert of(story, story.again(story.identity())) is MAY


def test_a_repetition_of_what_may_not_have_been_taken_may_be_taken() -> None:
    story = Story()
    story.document()
    commit = story.commit()
    story.again(commit)
    assert last(story) is MUST_NOT
    assert last(story, OPTIMISTIC) is MAY, "the first went out unverified, and moved nothing"


def test_a_rev_that_may_have_been_overtaken() -> None:
    story = settled(lambda story: story.commit(rev="3kzzzzzzzzzzz", intent=Intent.MISSING_PREV_DATA))
    story.commit()
    assert last(story, Policy("strict", "lenient")) is MAY
    assert last(story, Policy("strict", "strict")) is MUST


@pytest.mark.parametrize("intent", [Intent.WRONG_HOST, Intent.FORGED_ACCOUNT])
def test_a_host_that_is_not_the_accounts(intent: Intent) -> None:
    def forge(story: Story) -> Emission:
        return (story.commit if intent is Intent.WRONG_HOST else story.account)(DID, 1, intent=intent)

    story = settled(forge)
    assert (last(story), last(story, OPTIMISTIC)) == (MUST_NOT, MUST_NOT)
    story.document(DID, 1, "key2")
    assert last(story) is MAY, "the account moves there, and the relay may be late"


def test_the_old_hosts_word_after_a_migration() -> None:
    story = settled(lambda story: story.document(DID, 1, "key2"))
    new = [story.identity(DID, 1), story.account(DID, 1), story.sync(DID, 1)]
    story.account(DID, 0, intent=Intent.LATE_GOODBYE, active=False)
    assert last(story) is MAY
    assert [of(story, one) for one in new] == [MUST, MUST, MUST]
    story.ledger.settled()
    story.account(DID, 0, intent=Intent.LATE_GOODBYE, active=False)
    assert last(story) is MUST_NOT


def test_a_migration_that_nobody_told_of_is_not_known() -> None:
    story = settled(lambda story: story.document(DID, 1, "key2"), lambda story: story.ledger.settled())
    story.account(DID, 0, intent=Intent.LATE_GOODBYE, active=False)
    assert last(story) is MAY


def test_the_old_key() -> None:
    story = settled(lambda story: story.document(key="key2"))
    story.commit(intent=Intent.OLD_KEY)
    assert last(story) is MAY
    story.identity()
    story.commit(intent=Intent.OLD_KEY)
    assert last(story) is MAY, "the look-up is under way"
    elsewhere = settled(lambda story: story.document(key="key2"), lambda story: story.identity())
    elsewhere.ledger.settled()
    elsewhere.commit(intent=Intent.OLD_KEY)
    assert last(elsewhere) is MUST_NOT
    story.sync()
    story.commit(intent=Intent.OLD_KEY)
    assert last(story) is MUST_NOT, "the #sync could not have been verified with the old key"


def test_a_relay_that_looks_up_only_so_often() -> None:
    policy = Policy("strict", refresh_burst=5)
    story = settled(lambda story: story.document(key="key2"), lambda story: story.sync())
    assert last(story, policy) is MUST
    story.ledger.settled()
    for _ in range(6):
        story.commit(intent=Intent.BAD_SIGNATURE)
    assert of(story, story.commit(), policy) is MUST, "with a document that it has"
    story.document(key="key3")
    story.ledger.settled()
    known = story.commit()
    assert (of(story, known), of(story, known, policy)) == (MUST, MAY)
    story.document(DID, 1, "key4")
    story.ledger.settled()
    assert of(story, story.account(DID, 1), policy) is MUST, "each host has look-ups of its own"


def test_events_before_a_change_of_the_document() -> None:
    story = settled()
    before = [story.commit(), story.sync(), story.account(), story.identity()]
    story.document(key="key2")
    assert [of(story, one) for one in before] == [MAY, MAY, MUST, MUST], "a new key says nothing about the host"
    story = settled()
    before = [story.commit(), story.account(), story.identity()]
    story.document(DID, 1)
    assert [of(story, one) for one in before] == [MAY, MAY, MUST]
    story = settled()
    before = [story.commit(), story.account(active=False, status="deleted")]
    story.tombstone()
    after = [story.identity(), story.account(active=False, status="deleted")]
    assert [of(story, one) for one in (*before, *after)] == [MAY, MUST, MUST, MUST]
    story = settled()
    before = [story.commit()]
    story.ledger.settled()
    story.document(key="key2")
    assert of(story, before[0]) is MUST
    story = settled()
    before = [story.commit()]
    story.document()  # another handle at most
    assert of(story, before[0]) is MUST


def test_commits_of_an_account_that_is_not_active() -> None:
    story = settled()
    down = story.account(active=False, status="deactivated")
    story.commit(intent=Intent.INACTIVE)
    assert of(story, down) is MUST
    assert (last(story), last(story, OPTIMISTIC)) == (MUST_NOT, MUST_NOT)
    inactive = story.emissions[-1]
    story.account()
    assert of(story, inactive) is MUST_NOT, "one socket, one order"
    assert of(story, inactive, Policy("strict", asks_again=True)) is MAY, "the host answers by how it is now"
    story = settled(lambda story: story.commit(intent=Intent.INACTIVE))
    assert last(story) is MAY, "nobody has said so"


def test_what_the_directory_does_not_know() -> None:
    story = settled()
    lost = "did:plc:cccccccccccccccccccccccc"
    assert of(story, story.account(lost, intent=Intent.UNRESOLVABLE)) is MUST_NOT
    assert last(story, OPTIMISTIC) is MUST_NOT
    assert of(story, story.identity(lost, intent=Intent.UNRESOLVABLE)) is MAY
    other = "did:plc:dddddddddddddddddddddddd"
    commit = story.commit(other, intent=Intent.UNRESOLVABLE)
    assert (of(story, commit), of(story, commit, OPTIMISTIC)) == (MUST_NOT, MAY)
    story.ledger.settled()
    assert of(story, story.commit(other, intent=Intent.UNRESOLVABLE), OPTIMISTIC) is MUST_NOT
    story.ledger.restarted()
    assert of(story, story.commit(other, intent=Intent.UNRESOLVABLE), OPTIMISTIC) is MAY
    story.document(other)
    assert of(story, commit) is MUST_NOT, "that was in another span"
    assert last(story) is MAY


def test_anybody_may_say_that_an_identity_has_changed() -> None:
    assert last(settled(lambda story: story.identity(DID, 1, intent=Intent.FORGED_IDENTITY))) is MUST


def test_what_is_known_not_to_be_there_is_known_until_a_restart() -> None:
    story, lost = settled(), "did:plc:cccccccccccccccccccccccc"

    def again() -> Expectation:
        return of(story, story.commit(lost, intent=Intent.UNRESOLVABLE), OPTIMISTIC)

    assert again() is MAY
    story.ledger.settled()
    assert again() is MUST_NOT
    story.ledger.restarted()
    story.ledger.settled()
    assert again() is MAY
    story.ledger.settled()
    assert again() is MUST_NOT


def test_what_contradicts_what_was_said_before_is_not_insisted_on() -> None:
    story = settled(lambda story: story.tombstone())
    assert of(story, story.commit()) is MAY
    story = settled(lambda story: story.document(DID, 1))
    assert of(story, story.account(DID, 0)) is MAY
    story = settled(lambda story: story.account(active=False))
    assert of(story, story.commit()) is MAY
    story = Story()
    story.document()
    assert of(story, story.commit(intent=Intent.OLD_REV)) is MAY
    story = settled(lambda story: story.document(DID, 1, "key2"), lambda story: story.account(DID, 1, active=False))
    story.document(DID, 0, "key3")
    assert of(story, story.commit(DID, 0, intent=Intent.INACTIVE)) is MAY


def test_what_is_settled_stays_known() -> None:
    story = settled()
    commit = story.commit()
    story.document(key="key2")
    story.account()
    story.sync()
    story.ledger.settled()
    assert of(story, story.commit(intent=Intent.OLD_KEY)) is MUST_NOT
    story = settled()
    commit = story.commit()
    story.ledger.settled()
    assert of(story, story.again(commit, host=0)) is MUST_NOT


def test_while_the_directory_is_down() -> None:
    story = settled(lambda story: story.ledger.directory_down())
    known = story.commit()
    new = "did:plc:cccccccccccccccccccccccc"
    story.introduce(new)
    unknown = story.emissions[-1]
    assert (of(story, known), of(story, unknown)) == (MUST, MAY)
    story.ledger.settled()
    still = story.commit(new)
    story.ledger.directory_up()
    story.ledger.settled()
    assert of(story, still) is MAY
    assert of(story, story.commit(new)) is MUST


def test_when_a_hosts_seqs_begin_anew() -> None:
    story = settled()
    before = story.commit()
    story.reset()
    first, elsewhere = story.commit(), story.commit(OTHER, 1)
    assert [of(story, one) for one in (before, first, elsewhere)] == [MAY, MAY, MUST]
    story.ledger.settled()
    assert of(story, story.commit()) is MUST


def test_an_account_that_the_operator_took_down() -> None:
    policy = Policy("strict", local_status={DID: "takendown"})
    story = settled(lambda story: story.commit())
    assert last(story, policy) is MAY
    assert of(story, story.commit(OTHER, 1), policy) is MUST


def test_the_rule_alone_knows_nothing_of_doubt() -> None:
    assert rule(Intent.BAD_SIGNATURE, "#commit", OPTIMISTIC).expectation is MUST_NOT
