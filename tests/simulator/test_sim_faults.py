"""Every fault is wrong in the way that its intent says, and in no other."""

import hashlib
from collections.abc import Sequence

import pytest

from tests.support.sim_witness import Witness
from tools.simulator.faults.frames import poisons
from tools.simulator.model import Emission, Intent, Step
from tools.simulator.worlds import keys as sim_keys
from tools.simulator.worlds.world import GOOD_ONLY, HOSTILE, Account, World, WorldConfig
from zlay_py.atproto import car, commit, events, frame, keys
from zlay_py.atproto.frame import FrameKind
from zlay_py.errors import FrameError

WRONG: dict[Intent, set[str]] = {
    Intent.GOOD: set(),
    Intent.UNKNOWN_FIELDS: set(),
    Intent.BARE: set(),
    Intent.DISCONTINUOUS: {"gap"},
    Intent.LARGE: set(),
    Intent.BAD_SIGNATURE: {"signature"},
    Intent.HIGH_S: {"signature"},
    Intent.OLD_KEY: {"signature"},
    Intent.BAD_PROOF: {"proof"},
    Intent.MISSING_BLOCK: {"proof"},
    Intent.WRONG_PREV_DATA: {"proof", "gap"},
    Intent.MISSING_PREV_DATA: {"no prevData"},
    Intent.FUTURE_REV: {"future"},
    Intent.OLD_REV: {"rev"},
    Intent.REPEATED: {"rev", "gap"},
    Intent.SYNC_REPEATED: {"repeated"},
    Intent.UNKNOWN_ACTION: {"event"},
    Intent.TOO_MANY_BYTES: {"event"},
    Intent.TOO_MANY_OPS: {"event"},
    Intent.MISMATCHED: {"fields"},
    Intent.BAD_SLICE: {"blocks"},
    Intent.MISSING_RECORD: {"records"},
    Intent.LARGE_RECORD: {"records"},
    Intent.WRONG_HOST: {"host"},
    Intent.FORGED_ACCOUNT: {"host"},
    Intent.FORGED_IDENTITY: {"host"},
    Intent.LATE_GOODBYE: {"host"},
    Intent.UNRESOLVABLE: {"unresolvable"},
    Intent.INACTIVE: {"inactive"},
    Intent.UNKNOWN_TYPE: {"unknown"},
    Intent.UNKNOWN_OP: {"unknown"},
    Intent.POISON: {"frame"},
    Intent.TEXT: {"frame"},
    Intent.OVERSIZED_FRAME: {"frame"},
    Intent.INFO: {"#info"},
    Intent.ERROR: {"error"},
    Intent.SEQ_REPEATED: {"seq"},
}
ROUNDS = 8
"""As many as the intent with the most ways has."""


class Stage:
    """A world, and a witness that sees all of it."""

    def __init__(self, **config: int | float) -> None:
        self.world = World(WorldConfig(**{"seed": 7, "hosts": 2, "accounts_per_host": 2, **config}))  # type: ignore[arg-type]
        self.witness = Witness(self.world.config.start_time_us)
        self.see(self.world.documents())
        for account in self.world.accounts:
            self.see(self.world.introduce(account))

    def see(self, steps: Sequence[Step]) -> None:
        for step in steps:
            found = self.witness.see(step)
            if isinstance(step, Emission):
                assert found == WRONG[step.intent], f"{step.intent}: {step.kind}, {found}"

    def check_ends(self) -> None:
        for end in self.world.ends():
            known = self.witness.accounts[end.did]
            assert (known.active, known.status, known.rev) == (end.active, end.status, end.rev)
            document = self.witness.documents[end.did]
            assert document is None or document.host == end.host

    def fault(self, intent: Intent, account: Account | None = None) -> Emission:
        """Makes the fault; gives the emission that is one."""
        steps = self.world.fault(intent, account)
        self.see(steps)
        (emission,) = [step for step in steps if isinstance(step, Emission) and step.intent is intent]
        return emission


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_every_intent_has_a_maker(stage: Stage) -> None:
    assert WRONG.keys() == set(Intent)
    with pytest.raises(ValueError, match="not a fault"):
        stage.world.fault(Intent.GOOD)


@pytest.mark.parametrize("intent", [intent for intent in Intent if intent is not Intent.GOOD])
@pytest.mark.parametrize("records", [0, 300])
def test_a_fault_is_wrong_in_one_way_and_leaves_all_as_it_was(intent: Intent, records: int) -> None:
    stage = Stage(records_per_repo=records, p256_share=0.5)
    wires = set()
    for number in range(ROUNDS):
        account = stage.world.accounts[number % 4]
        emission = stage.fault(intent, account)
        wires.add(hashlib.sha256(emission.wire).digest())
        # The event after it follows the last good one: the witness would see a gap.
        stage.see(stage.world.commit(account, 1, 1, 1))
    stage.check_ends()
    constant = {Intent.TEXT: 3, Intent.INFO: 2, Intent.ERROR: 3}
    assert len(wires) == constant.get(intent, ROUNDS) or intent is Intent.OVERSIZED_FRAME


@pytest.mark.parametrize("seed", range(3))
def test_a_hostile_world(seed: int) -> None:
    stage = Stage(seed=seed, hosts=3, accounts_per_host=3, p256_share=0.4)
    seen = set()
    for step in stage.world.run(1500, mix=HOSTILE):
        stage.see([step])
        if isinstance(step, Emission):
            seen.add(step.intent)
    stage.check_ends()
    assert len(seen) > len(Intent) * 0.8


def test_a_good_world() -> None:
    stage = Stage(hosts=3, p256_share=0.4, records_per_repo=50)
    statuses = set()
    for step in stage.world.run(1500, mix=GOOD_ONLY):
        stage.see([step])
        assert not isinstance(step, Emission) or step.intent in (Intent.GOOD, Intent.SYNC_REPEATED)
    stage.check_ends()
    statuses = {end.status for end in stage.world.ends()}
    assert {None, "deleted"} <= statuses
    assert None in stage.witness.documents.values(), "tombstoned"


def test_the_witness_notices(stage: Stage) -> None:
    """What the tests above rest on."""
    account = stage.world.accounts[0]
    stage.world.commit(account)  # which the witness does not see
    (late,) = stage.world.commit(account)
    assert stage.witness.see(late) == {"gap", "seq"}
    (later,) = stage.world.commit(account)
    assert stage.witness.see(later) == {"gap"}
    assert stage.witness.see(later) == {"gap", "seq", "rev"}


def test_high_s_is_good_when_it_is_low() -> None:
    stage = Stage(p256_share=0.5)
    for account in stage.world.accounts:
        emission = stage.fault(Intent.HIGH_S, account)
        signed = signed_commit(emission)
        key = keys.parse_did_key(account.signer.did_key)
        assert not key.verify(signed.sig, signed.unsigned)
        assert key.verify(keys.low_s(key.curve, signed.sig), signed.unsigned)


def test_an_old_key_was_good_once(stage: Stage) -> None:
    account = stage.world.accounts[0]
    before = keys.parse_did_key(account.signer.did_key)
    signed = signed_commit(stage.fault(Intent.OLD_KEY, account))
    assert before.verify(signed.sig, signed.unsigned)


def test_an_old_rev_is_below_the_last_one_or_the_same_with_another_commit(stage: Stage) -> None:
    account = stage.world.accounts[0]
    said = [stage.fault(Intent.OLD_REV, account) for _ in range(4)]
    assert [one.kind for one in said] == [FrameKind.COMMIT, FrameKind.SYNC] * 2
    assert [(one.rev or "") < (account.rev or "") for one in said] == [True, True, False, False]
    assert account.repo.head is not None
    assert all(one.rev == account.rev and account.repo.head.cid not in blocks(one) for one in said[2:])


OF_BOTH_KINDS = [
    *(Intent.BAD_SIGNATURE, Intent.HIGH_S, Intent.OLD_KEY, Intent.FUTURE_REV, Intent.OLD_REV, Intent.WRONG_HOST),
    *(Intent.INACTIVE, Intent.MISMATCHED, Intent.BAD_SLICE, Intent.TOO_MANY_BYTES),
]


@pytest.mark.parametrize("intent", OF_BOTH_KINDS)
def test_what_can_be_wrong_in_a_sync_too_comes_as_one(stage: Stage, intent: Intent) -> None:
    """A relay that looks at commits only would else get away with it."""
    kinds = [stage.fault(intent, stage.world.accounts[0]).kind for _ in range(4)]
    assert set(kinds) == {FrameKind.COMMIT, FrameKind.SYNC}


def test_a_rev_of_the_future_is_the_first_word_of_an_account_at_times(stage: Stage) -> None:
    before = len(stage.world.accounts)
    said = [stage.fault(Intent.FUTURE_REV, stage.world.accounts[0]) for _ in range(4)]
    [new] = stage.world.accounts[before:]
    assert [one.did == new.did for one in said] == [False, False, True, False]
    assert new.introduced
    assert (said[2].rev or "") > (new.rev or "")
    stage.check_ends()


def test_a_key_that_only_an_identity_tells_of(stage: Stage) -> None:
    account = stage.world.accounts[0]
    steps = stage.world.rotate_key(account, sync=False)
    stage.see(steps)
    assert [step.kind for step in steps if isinstance(step, Emission)] == [FrameKind.IDENTITY]
    stage.see(stage.world.commit(account))
    assert signed_commit(stage.fault(Intent.REPEATED, account)).rev == account.rev
    stage.see([*stage.world.deactivate(account), *stage.world.reactivate(account)])


def test_what_is_mismatched_is_so_in_one_field(stage: Stage) -> None:
    for part in ("rev", "did", "commit", "did", "rev"):
        emission = stage.fault(Intent.MISMATCHED)
        body = frame.decode(emission.wire).body
        slice_ = car.parse(blocks(emission))
        signed = commit.decode(slice_.blocks[slice_.roots[0]], did=emission.did, rev=emission.rev or "")
        same = {
            "rev": signed.rev == emission.rev,
            "did": signed.did == emission.did,
            "commit": body.get("commit", slice_.roots[0]) == slice_.roots[0],
        }
        assert [name for name, is_same in same.items() if not is_same] == [part]


def test_what_a_host_may_say_of_an_account(stage: Stage) -> None:
    account, said = stage.world.accounts[0], set()
    for _ in range(20):
        for make in (stage.world.limit, stage.world.close, stage.world.reactivate):
            steps = make(account)
            stage.see(steps)
            end = account.end()
            said.add((end.active, end.status))
    stage.check_ends()
    assert said == {
        (True, None),
        (True, "desynchronized"),
        (True, "throttled"),
        (False, None),
        (False, "resting"),
    }


def test_what_is_repeated_has_a_signature_that_holds(stage: Stage) -> None:
    """After a change of key, what was said before it would be wrong in two ways."""
    account = stage.world.accounts[0]
    stage.see(stage.world.rotate_key(account))
    stage.fault(Intent.REPEATED, account)
    stage.see(stage.world.migrate(account, 1))
    stage.fault(Intent.REPEATED, account)


def test_what_is_unresolvable_is_rightly_signed(stage: Stage) -> None:
    dids = set()
    for _ in range(4):
        emission = stage.fault(Intent.UNRESOLVABLE)
        dids.add(emission.did)
        if emission.kind != FrameKind.ACCOUNT:
            signed = signed_commit(emission)
            signer = sim_keys.derive(sim_keys.Curve.K256, stage.world.config.seed, emission.did, 0)
            assert keys.parse_did_key(signer.did_key).verify(signed.sig, signed.unsigned)
    assert len(dids) == 4


def test_sizes(stage: Stage) -> None:
    for _ in range(4):
        large = stage.fault(Intent.LARGE)
        assert 1_000_000 < len(blocks(large)) <= events.COMMIT_BLOCKS_BYTES_MAX
        over = stage.fault(Intent.TOO_MANY_BYTES)
        most = events.SYNC_BLOCKS_BYTES_MAX if over.kind == FrameKind.SYNC else events.COMMIT_BLOCKS_BYTES_MAX
        assert most < len(blocks(over)) < len(over.wire) < frame.FRAME_BYTES_MAX
        assert len(stage.fault(Intent.OVERSIZED_FRAME).wire) > frame.FRAME_BYTES_MAX


def test_unknown_fields_are_there(stage: Stage) -> None:
    for _ in range(7):
        emission = stage.fault(Intent.UNKNOWN_FIELDS)
        assert b"futureField" in emission.wire or b"\x61a" in emission.wire
        assert stage.witness.frame is not None
        signed_only = emission.wire.count(b"futureField") == 1 and b"futureField" in bytes(
            stage.witness.frame.body.get("blocks", b"")  # type: ignore[call-overload]
        )
        assert stage.witness.frame.typed or signed_only


def test_bare_commits_lack_what_is_deprecated(stage: Stage) -> None:
    missing = []
    for _ in range(4):
        stage.fault(Intent.BARE)
        assert stage.witness.frame is not None
        missing.append(events.parse_commit(stage.witness.frame).missing_deprecated)
    assert missing == [("blobs", "rebase", "tooBig"), ("blobs",), ("rebase",), ("tooBig",)]


def test_each_poison_is_refused(stage: Stage) -> None:
    for wire in poisons(stage.world, 0).values():
        with pytest.raises(FrameError):
            frame.decode(wire)


def test_what_costs_the_connection_takes_no_seq(stage: Stage) -> None:
    for intent in (Intent.POISON, Intent.TEXT, Intent.OVERSIZED_FRAME, Intent.ERROR, Intent.INFO, Intent.SEQ_REPEATED):
        before = stage.world.outlets.seqs.copy()
        emission = stage.fault(intent)
        assert stage.world.outlets.seqs == before
        assert emission.seq == before[emission.host]


def test_one_host_alone_has_no_other() -> None:
    stage = Stage(hosts=1, accounts_per_host=1)
    with pytest.raises(ValueError, match="two hosts"):
        stage.world.fault(Intent.WRONG_HOST)
    for step in stage.world.run(300, mix=HOSTILE):
        stage.see([step])


def test_a_fault_needs_an_account_that_can_speak(stage: Stage) -> None:
    account = stage.world.accounts[0]
    stage.see(stage.world.take_down(account))
    with pytest.raises(ValueError, match="not active"):
        stage.world.fault(Intent.BAD_PROOF, account)
    assert stage.fault(Intent.INACTIVE, account).did == account.did


def signed_commit(emission: Emission) -> commit.Commit:
    slice_ = car.parse(blocks(emission))
    return commit.decode(slice_.blocks[slice_.roots[0]], did=emission.did, rev=emission.rev or "")


def blocks(emission: Emission) -> bytes:
    value = frame.decode(emission.wire).body["blocks"]
    assert isinstance(value, bytes)
    return value
