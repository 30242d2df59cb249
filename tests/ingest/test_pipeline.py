"""What becomes of a frame, rule by rule: forwarded, or dropped for the right reason with the state as it was."""

import cbor2
import pytest

from tests.ingest.conftest import HOME, OTHER, Bench
from tests.support.repo import Repo, Signer, did_plc, message, with_seq
from zlay_py.atproto import car, dag_cbor, frame, mst, syntax
from zlay_py.atproto.dag_cbor import Link
from zlay_py.atproto.frame import HEADERS
from zlay_py.atproto.keys import Curve
from zlay_py.identity.directory import FRESH_NEGATIVE_US, FRESH_US
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.ingest.outcome import Accepted, Dropped, DropReason, Need, Waiting
from zlay_py.ingest.work import Work
from zlay_py.settings import Sync11
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.workers.state_projector import change_of

POST = "app.bsky.feed.post"


def test_a_life_of_an_account_is_forwarded_and_its_state_follows(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.identity("someone.test"))
    bench.accept(repo.account())
    first = bench.accept(repo.commit([]))
    created = bench.accept(repo.create(f"{POST}/3jqfcqzm3fo2j"))
    deleted = bench.accept(repo.delete(f"{POST}/3jqfcqzm3fo2j"))
    account = bench.accounts.get(repo.did)
    assert account is not None
    assert (account.rev, account.commit, account.data) == (repo.rev, repo.commit_cid, mst.EMPTY_ROOT)
    for accepted in (first, created, deleted):
        delta = accepted.entry.delta
        assert (delta.verified, delta.inverted, delta.discontinuous) == (True, True, False)
        assert accepted.entry.uid == account.uid
    assert created.entry.delta.collections_added == (POST,)
    assert deleted.entry.delta.collections_removed == (POST,)


def test_p256_accounts_are_as_good(bench: Bench) -> None:
    repo = Repo(did_plc(5), Signer(Curve.P256))
    bench.resolver.register(repo, HOME)
    bench.accept(repo.commit([]))
    bench.accept(repo.create(f"{POST}/a"))


def test_a_payload_leaves_as_it_came(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    future = [1, {"x": b"\x01q\x12 "}]
    outcome = bench.accept(repo.commit([("create", f"{POST}/a", {})], changes={"futureField": future}))
    body = cbor2.loads(outcome.entry.payload)
    assert body["futureField"] == future
    start, end = outcome.entry.seq_span
    assert outcome.entry.payload[start:end] == dag_cbor.encode_uint(outcome.entry.upstream_seq)


def test_an_unverified_handle_is_stripped_and_an_unknown_account_makes_no_row(bench: Bench) -> None:
    repo = bench.repo()
    outcome = bench.accept(repo.identity("someone.test"), OTHER)
    assert "handle" not in cbor2.loads(outcome.entry.payload)
    assert outcome.entry.uid == 0
    assert outcome.entry.did_hash != 0
    assert outcome.look_up
    assert bench.accounts.get(repo.did) is None


def test_missing_deprecated_fields_are_filled_in(bench: Bench) -> None:
    repo = bench.repo()
    wire = repo.commit([])
    stripped = rebuild(wire, without=("rebase", "tooBig", "blobs"))
    outcome = bench.accept(stripped)
    decoded = cbor2.loads(outcome.entry.payload)
    assert (decoded["rebase"], decoded["tooBig"], decoded["blobs"]) == (False, False, [])


def rebuild(wire: bytes, *, without: tuple[str, ...] = (), **changes: object) -> bytes:
    """The same message with fields left out or replaced."""
    header = next(header for header in HEADERS.values() if wire.startswith(header))
    kind = next(kind for kind, value in HEADERS.items() if value == header)
    body = dag_cbor.decode(wire[len(header) :])
    assert isinstance(body, dict)
    return message(kind, {name: value for name, value in body.items() if name not in without} | changes)


def test_old_and_future_revs_are_dropped(bench: Bench) -> None:
    repo = bench.repo()
    first = repo.commit([])
    bench.accept(first)
    assert bench.drop(first) is DropReason.REV_OLD
    far = syntax.tid_from(bench.clock.us + 301 * 1_000_000, 0)
    assert bench.drop(repo.commit([], rev=far)) is DropReason.REV_FUTURE
    near = syntax.tid_from(bench.clock.us + 299 * 1_000_000, 0)
    bench.accept(repo.commit([], rev=near, changes={"since": None}))


def test_what_the_message_says_must_be_what_was_signed(bench: Bench) -> None:
    repo, other = bench.repo(1), bench.repo(2)
    wire = repo.commit([])
    other.commit([])
    assert other.commit_cid is not None
    assert bench.drop(rebuild(wire, commit=Link(other.commit_cid))) is DropReason.FIELDS_MISMATCH
    assert bench.drop(rebuild(wire, rev=repo.next_rev())) is DropReason.FIELDS_MISMATCH
    assert bench.drop(rebuild(wire, repo=other.did)) is DropReason.FIELDS_MISMATCH
    bench.accept(wire)


def test_a_broken_slice_is_dropped(bench: Bench) -> None:
    repo = bench.repo()
    wire = repo.create(f"{POST}/a", {"text": "this text"})
    body = dag_cbor.decode(wire[15:])
    assert isinstance(body, dict)
    blocks = body["blocks"]
    assert isinstance(blocks, bytes)
    assert bench.drop(rebuild(wire, blocks=blocks.replace(b"this text", b"that text"))) is DropReason.CAR_INVALID
    assert bench.drop(rebuild(wire, blocks=blocks[:-1])) is DropReason.CAR_INVALID
    parsed = car.parse(blocks)
    record = body["ops"][0]["cid"]
    without = [(cid, block) for cid, block in parsed.blocks.items() if cid != record]
    assert bench.drop(rebuild(wire, blocks=car.write(parsed.roots[0], without))) is DropReason.RECORD_MISSING
    bench.accept(wire)


def test_a_wrong_key_is_asked_about_once_and_a_rotated_one_is_found(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    repo.signer = Signer()
    asked = len(bench.resolver.asked)
    forged = repo.create(f"{POST}/a")
    assert bench.drop(forged) is DropReason.SIGNATURE_INVALID
    assert len(bench.resolver.asked) == asked + 1
    account = bench.accounts.get(repo.did)
    assert account is not None
    assert account.data == mst.EMPTY_ROOT, "a forged commit changes no state"
    bench.clock.s += 3_600
    bench.resolver.register(repo, HOME)
    bench.accept(forged)


def test_a_host_that_is_not_the_accounts_is_not_heard(bench: Bench) -> None:
    repo = bench.repo()
    assert bench.drop(repo.commit([]), OTHER) is DropReason.HOST_NOT_AUTHORITATIVE
    assert bench.drop(repo.account(False, "deleted"), OTHER) is DropReason.HOST_NOT_AUTHORITATIVE
    assert bench.drop(repo.sync(), OTHER) is DropReason.HOST_NOT_AUTHORITATIVE
    assert bench.accounts.get(repo.did) is None
    bench.accept(repo.account())


def test_a_migration_moves_the_account_and_the_old_hosts_last_word_does_not_win(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.account())
    bench.accept(repo.commit([]))
    bench.resolver.register(repo, OTHER)
    bench.accept(repo.identity(), OTHER)
    bench.accept(repo.account(), OTHER)
    account = bench.accounts.get(repo.did)
    assert account is not None
    assert account.host_id == bench.hosts[OTHER].id
    assert bench.drop(repo.account(False, "deactivated"), HOME) is DropReason.HOST_NOT_AUTHORITATIVE
    assert account.upstream_status == "active"
    bench.accept(repo.create(f"{POST}/a"), OTHER)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (IdentityState.NOT_FOUND, DropReason.IDENTITY_NOT_FOUND),
        (IdentityState.TOMBSTONED, DropReason.IDENTITY_NOT_FOUND),
        (IdentityState.UNUSABLE, DropReason.IDENTITY_UNUSABLE),
    ],
)
def test_an_account_without_a_usable_document_is_dropped(
    bench: Bench, state: IdentityState, reason: DropReason
) -> None:
    repo = Repo(did_plc(9))
    bench.resolver.answer(repo.did, state)
    assert bench.drop(repo.commit([])) is reason
    assert bench.accounts.get(repo.did) is None


def test_its_own_host_may_say_that_a_tombstoned_account_is_deleted(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.account())
    bench.resolver.answer(repo.did, IdentityState.TOMBSTONED)
    bench.directory.mark_stale(repo.did)
    bench.accept(repo.account(False, "deleted"))
    account = bench.accounts.get(repo.did)
    assert account is not None
    assert account.upstream_status == "deleted"


def test_without_an_answer_strict_drops_and_says_so(bench: Bench) -> None:
    repo = Repo(did_plc(9))
    first = bench.once(repo.commit([]))
    assert first == Waiting(repo.did, Need.IDENTITY)
    assert bench.drop(repo.commit([])) is DropReason.IDENTITY_UNRESOLVABLE


def test_optimistic_passes_an_unknown_commit_unverified_and_nothing_else(optimistic: Bench) -> None:
    repo = optimistic.repo()
    commit = repo.commit([])
    outcome = optimistic.once(commit)
    assert isinstance(outcome, Accepted)
    assert outcome.look_up
    assert not outcome.entry.delta.verified
    assert (outcome.entry.delta.rev, outcome.entry.uid) == (None, 0)
    assert optimistic.accounts.get(repo.did) is None
    assert isinstance(optimistic.once(repo.account()), Waiting)
    assert isinstance(optimistic.once(repo.sync()), Waiting)
    optimistic.directory.resolve(repo.did)
    verified = optimistic.accept(repo.create(f"{POST}/a"))
    assert verified.entry.delta.verified
    assert optimistic.drop(repo.create(f"{POST}/b"), OTHER) is DropReason.HOST_NOT_AUTHORITATIVE


def test_optimistic_passes_it_also_behind_an_event_that_waited_in_vain(optimistic: Bench) -> None:
    """The directory is down: what was to wait for it is dropped, and what need not is not."""
    repo = Repo(did_plc(9))
    assert optimistic.once(repo.account(), asked=True, failed=True) == Dropped(
        DropReason.IDENTITY_UNRESOLVABLE, repo.did
    )
    behind = optimistic.once(repo.commit([]), failed=True)
    assert isinstance(behind, Accepted)
    assert not behind.entry.delta.verified


def test_an_inactive_account_is_silent_until_it_is_active_again(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    gone = bench.accept(repo.account(False, "deactivated"))
    assert gone.entry.delta.upstream_status == "deactivated"
    hidden = repo.create(f"{POST}/a")
    assert bench.drop(hidden) is DropReason.ACCOUNT_INACTIVE
    assert bench.drop(repo.sync()) is DropReason.ACCOUNT_INACTIVE
    bench.accept(repo.account(True, "throttled"))
    outcome = bench.accept(repo.create(f"{POST}/b"))
    assert outcome.entry.delta.discontinuous, "what was dropped before it is missing downstream"


def test_a_status_that_no_database_would_take_is_none(bench: Bench, database: Database) -> None:
    """Any text is one, says the lexicon; and PostgreSQL's texts have no NUL."""
    repo = bench.repo()
    outcome = bench.accept(repo.account(False, "gone\0"))
    body = cbor2.loads(outcome.entry.payload)
    assert (body["active"], body.get("status")) == (False, None)
    change = change_of(1, outcome.entry)
    assert change is not None
    AccountStore(database).apply([change], 1)
    row = AccountStore(database).get(repo.did)
    assert row is not None
    assert row.upstream_status == "inactive"


def test_a_local_takedown_shows_in_the_accounts_own_events(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.account())
    account = bench.accounts.get(repo.did)
    assert account is not None
    account.local_status = "takendown"
    outcome = bench.accept(repo.account())
    body = cbor2.loads(outcome.entry.payload)
    assert (body["active"], body["status"]) == (False, "takendown")
    assert outcome.entry.delta.upstream_status == "active"
    assert bench.drop(repo.commit([])) is DropReason.ACCOUNT_INACTIVE_HERE


def test_a_sync_is_adopted_once(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    assert bench.drop(repo.sync_again()) is DropReason.SYNC_REPEATED
    rotated = bench.accept(repo.sync())
    assert not rotated.entry.delta.discontinuous
    account = bench.accounts.get(repo.did)
    assert account is not None
    assert account.rev == repo.rev
    bench.accept(repo.create(f"{POST}/a"))


def test_two_commits_with_one_rev_are_equivocation(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    rev = repo.rev
    repo.commit([("create", f"{POST}/a", {})], rev=rev)
    assert bench.drop(repo.sync_again()) is DropReason.EQUIVOCATION


def test_a_gap_is_forwarded_adopted_and_flagged(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    repo.create(f"{POST}/lost")
    outcome = bench.accept(repo.create(f"{POST}/next"))
    assert outcome.entry.delta.discontinuous
    assert not bench.accept(repo.create(f"{POST}/after")).entry.delta.discontinuous


def test_operations_that_do_not_lead_back_are_dropped(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    wire = repo.commit([("create", f"{POST}/a", {"n": 1}), ("create", f"{POST}/b", {"n": 2})])
    body = dag_cbor.decode(wire[15:])
    assert isinstance(body, dict)
    one_hidden = rebuild(wire, ops=body["ops"][:1])
    assert bench.drop(one_hidden) is DropReason.INVERSION_FAILED
    assert bench.drop(rebuild(wire, ops=[])) is DropReason.INVERSION_FAILED
    account = bench.accounts.get(repo.did)
    assert account is not None
    assert account.data == mst.EMPTY_ROOT
    bench.accept(wire)


@pytest.mark.parametrize(
    ("mode", "sent_before", "forwarded"),
    [
        (Sync11.STRICT, False, False),
        (Sync11.RATCHET, False, True),
        (Sync11.RATCHET, True, False),
        (Sync11.LENIENT, True, True),
    ],
)
def test_a_missing_prev_data_by_mode(bench: Bench, mode: Sync11, sent_before: bool, forwarded: bool) -> None:
    bench.hosts[HOME].sync11_mode = mode
    repo = bench.repo()
    bench.accept(repo.commit([]))
    if sent_before:
        bench.accept(repo.create(f"{POST}/a"))
    wire = rebuild(repo.create(f"{POST}/b"), without=("prevData",))
    if forwarded:
        delta = bench.accept(wire).entry.delta
        assert (delta.verified, delta.inverted, delta.rev) == (True, False, repo.rev)
        assert delta.collections_undecided == (POST,)
    else:
        assert bench.drop(wire) is DropReason.PREV_DATA_MISSING


@pytest.mark.parametrize(
    ("mode", "forwarded"), [(Sync11.STRICT, False), (Sync11.RATCHET, False), (Sync11.LENIENT, True)]
)
def test_a_wrong_inversion_by_mode(bench: Bench, mode: Sync11, forwarded: bool) -> None:
    bench.hosts[HOME].sync11_mode = mode
    repo = bench.repo()
    bench.accept(repo.commit([]))
    wire = rebuild(repo.create(f"{POST}/b"), ops=[])
    if forwarded:
        assert not bench.accept(wire).entry.delta.inverted
    else:
        assert bench.drop(wire) is DropReason.INVERSION_FAILED


@pytest.mark.parametrize(
    "did", ["", "did:plc:short", "not a did", "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"]
)
def test_dids_that_nobody_can_resolve_are_dropped(bench: Bench, did: str) -> None:
    repo = bench.repo()
    wire = rebuild(repo.account(), did=did)
    assert bench.drop(wire) in (DropReason.DID_INVALID, DropReason.DID_UNSUPPORTED)


def test_an_event_that_breaks_the_lexicon_is_dropped(bench: Bench) -> None:
    repo = bench.repo()
    wire = repo.commit([])
    assert bench.drop(rebuild(wire, without=("time",))) is DropReason.EVENT_INVALID
    assert bench.drop(rebuild(wire, rev="not a tid")) is DropReason.EVENT_INVALID
    assert bench.drop(rebuild(repo.account(), active="yes")) is DropReason.EVENT_INVALID


def test_a_document_that_comes_late_is_found_after_the_negative_answer_has_aged(bench: Bench) -> None:
    """A new account's first event may overtake its registration; nobody has to restart the relay for it."""
    repo = Repo(did_plc(9))
    bench.resolver.answer(repo.did, IdentityState.NOT_FOUND)
    assert bench.drop(repo.commit([])) is DropReason.IDENTITY_NOT_FOUND
    asked = len(bench.resolver.asked)
    assert bench.drop(repo.commit([])) is DropReason.IDENTITY_NOT_FOUND
    assert len(bench.resolver.asked) == asked, "a definite answer is not asked for again at once"
    bench.resolver.register(repo, HOME)
    bench.clock.us += FRESH_NEGATIVE_US
    bench.accept(repo.commit([]))


def test_what_is_in_force_for_more_than_a_day_is_asked_for_again(bench: Bench) -> None:
    repo = bench.repo()
    assert not bench.accept(repo.commit([])).look_up
    bench.clock.us += FRESH_US
    assert bench.accept(repo.create(f"{POST}/a")).look_up
    assert bench.accept(repo.account()).look_up


def test_a_document_without_a_pds_lets_its_old_host_say_goodbye_and_nothing_else(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    bench.resolver.answers[repo.did] = Identity(
        repo.did, IdentityState.UNUSABLE, repo.signer.public, None, None, bench.clock.us
    )
    bench.directory.mark_stale(repo.did)
    bench.directory.resolve(repo.did)
    assert bench.drop(repo.create(f"{POST}/a")) is DropReason.IDENTITY_UNUSABLE
    bench.accept(repo.account(False, "deleted"))


def test_a_document_that_names_another_host_without_a_key_silences_the_old_one(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    bench.resolver.answers[repo.did] = Identity(repo.did, IdentityState.UNUSABLE, None, OTHER, None, bench.clock.us)
    bench.directory.mark_stale(repo.did)
    bench.directory.resolve(repo.did)
    assert bench.drop(repo.account(False, "deleted")) is DropReason.IDENTITY_UNUSABLE


def test_a_foreign_host_does_not_use_up_what_the_accounts_own_may_ask(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.account())
    for _ in range(20):
        bench.accept(repo.identity(), OTHER)
        bench.directory.resolve(repo.did, OTHER)
    repo.signer = Signer()
    bench.resolver.register(repo, HOME)
    bench.accept(repo.commit([]))


def test_a_frame_read_before_a_cursor_reset_stays_one_of_the_old_stream(bench: Bench) -> None:
    repo = bench.repo()
    context = bench.hosts[HOME]
    work = Work(context, context.water, frame.decode(with_seq(repo.account(), 5)), bench.clock.us, True)
    context.epoch += 1
    bench.directory.resolve(repo.did)
    outcome = bench.pipeline.process(work)
    assert isinstance(outcome, Accepted)
    assert outcome.entry.upstream_epoch == context.epoch - 1


def test_only_an_accepted_commit_raises_the_ratchet(bench: Bench) -> None:
    bench.hosts[HOME].sync11_mode = Sync11.RATCHET
    repo, other = bench.repo(1), bench.repo(2, OTHER)
    bench.accept(repo.commit([]))
    other.commit([])
    assert bench.drop(other.create(f"{POST}/a")) is DropReason.HOST_NOT_AUTHORITATIVE
    bench.accept(rebuild(repo.create(f"{POST}/b"), without=("prevData",)))
