"""The way of one frame from a host to a log entry: one straight line, cheap checks first.

Order: syntax → authority → account status → rev → CAR → commit → signature → records → inversion → entry.
Each step goes on or returns why not. Nothing here waits but SQL's point reads and the insert of a new
account's row, all of them before the account's state is looked at; a frame that needs the network is handed back as
`Waiting`.
"""

from zlay_py.atproto import events, frame, syntax
from zlay_py.atproto.events import AccountEvent, CommitEvent, SyncEvent
from zlay_py.atproto.frame import FrameKind
from zlay_py.clock import Clock
from zlay_py.errors import EventInvalidError
from zlay_py.eventlog.delta import Delta
from zlay_py.eventlog.record import Entry, RecordKind, did_hash
from zlay_py.identity.directory import Directory
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.ingest import account_status
from zlay_py.ingest.accounts import Accounts, AccountState
from zlay_py.ingest.authority import DROP_BY_STATE, Authoritative, Authority, Unknown
from zlay_py.ingest.commit_check import Opened, Proof, check_records, open_commit, prove
from zlay_py.ingest.outcome import Accepted, Dropped, DropReason, Need, Outcome, Waiting
from zlay_py.ingest.work import Work
from zlay_py.settings import Sync11, Validation

REV_AHEAD_US_MAX = 300 * 1_000_000
"""A rev may be this far in our future: the sync spec says a few minutes, the reference relay five."""

KINDS = {
    FrameKind.COMMIT: RecordKind.COMMIT,
    FrameKind.SYNC: RecordKind.SYNC,
    FrameKind.IDENTITY: RecordKind.IDENTITY,
    FrameKind.ACCOUNT: RecordKind.ACCOUNT,
}


class Pipeline:
    """Judges frames. Called for frames of one DID in their order; different DIDs may interleave."""

    def __init__(
        self, accounts: Accounts, directory: Directory, clock: Clock, *, validation: Validation, sync11: Sync11
    ) -> None:
        self._accounts = accounts
        self._directory = directory
        self._clock = clock
        self._authority = Authority(accounts, directory)
        self._optimistic = validation is Validation.OPTIMISTIC
        self._sync11 = sync11

    def process(self, work: Work) -> Outcome:
        """What becomes of the frame. `work.frame.kind` is one of the four kinds that carry a DID and a seq."""
        did = work.frame.did
        if not syntax.is_did(did):
            return Dropped(DropReason.DID_INVALID, did[:64])
        if not syntax.is_supported_did(did):
            return Dropped(DropReason.DID_UNSUPPORTED, did[:64])
        self._accounts.hold(did)  # from the first look at its state to the last change of it
        try:
            match work.frame.kind:
                case FrameKind.COMMIT:
                    return self._commit(work, events.parse_commit(work.frame))
                case FrameKind.SYNC:
                    return self._sync(work, events.parse_sync(work.frame))
                case FrameKind.ACCOUNT:
                    return self._account(work, events.parse_account(work.frame))
                case _:
                    return self._identity(work)
        except EventInvalidError as error:
            return Dropped(DropReason.EVENT_INVALID, str(error))
        finally:
            self._accounts.release(did)

    def _commit(self, work: Work, event: CommitEvent) -> Outcome:
        payload = _with_defaults(work.frame.payload, event)
        standing = self._authority.check(work, event.did)
        if isinstance(standing, Unknown):
            if self._optimistic and not work.identity_asked:
                return self._unverified(work, payload, None)
            return _unknown(work)
        if not isinstance(standing, Authoritative):
            return standing
        account = standing.account
        dropped = _inactive(account) or self._rev_problem(account, event.rev)
        if dropped is not None:
            return dropped
        if standing.identity is None and self._optimistic:
            return self._unverified(work, payload, account)
        opened = open_commit(event)
        if isinstance(opened, Dropped):
            return opened
        problem = self._signature_problem(work, standing, opened) or check_records(event, opened.blocks)
        if problem is not None:
            return problem
        mode = Sync11(work.host.sync11_mode) if work.host.sync11_mode else self._sync11
        proof = prove(event, opened, mode, host_sends_prev_data=work.host.sends_prev_data)
        if isinstance(proof, Dropped):
            return proof
        discontinuous = account.data is not None and (event.prev_data != account.data or event.since != account.rev)
        accepted = self._adopt(work, standing, opened, payload, proof, discontinuous=discontinuous)
        work.host.sends_prev_data = work.host.sends_prev_data or event.prev_data is not None
        return accepted

    def _sync(self, work: Work, event: SyncEvent) -> Outcome:
        standing = self._authority.check(work, event.did)
        if isinstance(standing, Unknown):
            return _unknown(work)
        if not isinstance(standing, Authoritative):
            return standing
        account = standing.account
        dropped = _inactive(account) or self._rev_ahead(event.rev)
        if dropped is not None:
            return dropped
        if account.rev is not None and event.rev < account.rev:
            return Dropped(DropReason.REV_OLD, f"{event.rev} < {account.rev}")
        opened = open_commit(event)
        if isinstance(opened, Dropped):
            return opened
        if event.rev == account.rev:  # a creation or activation announces the commit that we already have
            same = opened.root == account.commit
            return Dropped(DropReason.SYNC_REPEATED if same else DropReason.EQUIVOCATION, event.rev)
        problem = self._signature_problem(work, standing, opened)
        if problem is not None:
            return problem
        changed = account.data is not None and opened.commit.data != account.data
        proof = Proof(False, (), (), ())
        return self._adopt(work, standing, opened, work.frame.payload, proof, discontinuous=changed)

    def _account(self, work: Work, event: AccountEvent) -> Outcome:
        standing = self._authority.check(work, event.did)
        if isinstance(standing, Unknown):
            return _unknown(work)
        if not isinstance(standing, Authoritative):
            return standing
        account = standing.account
        upstream_status = account_status.from_event(event.active, event.status)
        payload = work.frame.payload
        visible = account_status.combined(account.local_status, upstream_status)
        if (visible.active, visible.status) != (event.active, event.status):
            status = frame.REMOVE if visible.status is None else visible.status
            payload = frame.rewrite(payload, {"active": visible.active, "status": status})
        entry = self._entry(work, payload, account, Delta(verified=True, upstream_status=upstream_status))
        account.upstream_status = upstream_status
        self._accounts.pin(account)
        return Accepted(entry, account, look_up=_is_stale(standing.identity))

    def _identity(self, work: Work) -> Outcome:
        event = events.parse_identity(work.frame)
        self._directory.mark_stale(event.did)
        payload = work.frame.payload
        if event.handle is not None:
            # which handle an account may carry takes a look-up that a relay does not make; others must not trust it
            payload = frame.rewrite(payload, {"handle": frame.REMOVE})
        account = self._accounts.get(event.did)
        # anybody may say that an identity has changed: nothing is proven but that this host is the account's
        delta = Delta(verified=account is not None and account.host_id == work.host.id)
        return Accepted(self._entry(work, payload, account, delta), None, look_up=True)

    def _signature_problem(self, work: Work, standing: Authoritative, opened: Opened) -> Dropped | Waiting | None:
        did = opened.commit.did
        identity = standing.identity
        if identity is None:
            if work.identity_failed:
                return Dropped(DropReason.IDENTITY_UNRESOLVABLE, did)
            return Waiting(did, Need.IDENTITY)
        key = identity.key if identity.state is IdentityState.OK else None
        if key is not None and key.verify(opened.commit.sig, opened.commit.unsigned):
            return None
        if not work.identity_asked:  # the key may have been rotated: ask once, then it is final
            return Waiting(did, Need.REFRESH)
        if key is None:
            return Dropped(DROP_BY_STATE.get(identity.state, DropReason.IDENTITY_UNUSABLE), did)
        return Dropped(DropReason.SIGNATURE_INVALID, did)

    def _rev_problem(self, account: AccountState, rev: str) -> Dropped | None:
        if account.rev is not None and rev <= account.rev:
            return Dropped(DropReason.REV_OLD, f"{rev} <= {account.rev}")
        return self._rev_ahead(rev)

    def _rev_ahead(self, rev: str) -> Dropped | None:
        if syntax.tid_time_us(rev) > self._clock.now_us() + REV_AHEAD_US_MAX:
            return Dropped(DropReason.REV_FUTURE, rev)
        return None

    def _unverified(self, work: Work, payload: bytes, account: AccountState | None) -> Accepted:
        """Passed on before anybody could check it: flagged, and it changes no state."""
        return Accepted(self._entry(work, payload, account, Delta(verified=False)), None, look_up=True)

    def _adopt(
        self,
        work: Work,
        standing: Authoritative,
        opened: Opened,
        payload: bytes,
        proof: Proof,
        *,
        discontinuous: bool,
    ) -> Accepted:
        """The account is at this commit now. The state in memory moves at once: the next frame is judged by it."""
        account = standing.account
        delta = Delta(
            verified=True,
            inverted=proof.inverted,
            discontinuous=discontinuous,
            rev=opened.commit.rev,
            commit=opened.root,
            data=opened.commit.data,
            collections_added=proof.added,
            collections_removed=proof.removed,
            collections_undecided=proof.undecided,
        )
        entry = self._entry(work, payload, account, delta)
        account.rev, account.commit, account.data = opened.commit.rev, opened.root, opened.commit.data
        self._accounts.pin(account)
        return Accepted(entry, account, look_up=_is_stale(standing.identity))

    def _entry(self, work: Work, payload: bytes, account: AccountState | None, delta: Delta) -> Entry:
        kind = work.frame.kind
        ops = None if work.frame.typed else work.frame.body.get("ops")
        return Entry(
            kind=KINDS[kind],
            uid=0 if account is None else account.uid,
            did_hash=did_hash(work.frame.did) if account is None else 0,
            host_id=work.host.id,
            upstream_seq=work.frame.seq,
            upstream_epoch=work.epoch,
            time_us=self._clock.now_us(),
            payload=payload,
            seq_span=frame.seq_span(payload, kind, ops),
            delta=delta,
        )


def _unknown(work: Work) -> Dropped | Waiting:
    """Of a frame that can't go on without the identity of its DID: it is waited for, once."""
    if work.identity_failed:
        return Dropped(DropReason.IDENTITY_UNRESOLVABLE, work.frame.did)
    return Waiting(work.frame.did, Need.IDENTITY)


def _inactive(account: AccountState) -> Dropped | None:
    if account.local_status != account_status.ACTIVE:
        return Dropped(DropReason.ACCOUNT_INACTIVE_HERE, account.local_status)
    if not account_status.upstream_active(account.upstream_status):
        return Dropped(DropReason.ACCOUNT_INACTIVE, account.upstream_status)
    return None


def _is_stale(identity: Identity | None) -> bool:
    """What is in force may be out of date: a change that nobody told us of must be noticed some day."""
    return identity is not None and identity.stale


def _with_defaults(payload: bytes, event: CommitEvent) -> bytes:
    """Deprecated fields that the lexicon still requires are filled in where a host left them out."""
    if not event.missing_deprecated:
        return payload
    return frame.rewrite(payload, {name: events.DEPRECATED_FIELDS[name] for name in event.missing_deprecated})
