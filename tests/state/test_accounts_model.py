"""`apply` and `move` against a model in ten lines: any history, in any batches, any of them again."""

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from zlay_py.state.accounts import AccountChange, AccountStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostStore
from zlay_py.state.meta import MetaStore

NewDatabase = Callable[[], Database]
ACCOUNTS, HOSTS = 3, 3
REVS = [f"3{letter}aaaaaaaaa22" for letter in "abcdefgh"]


@dataclass(slots=True)
class Model:
    """One account as it should be."""

    host_id: int
    upstream: str = "active"
    local: str = "active"
    rev: str | None = None
    cid: bytes | None = None
    applied_seq: int = 0

    def apply(self, change: AccountChange) -> None:
        if change.seq <= self.applied_seq:
            return
        self.applied_seq = change.seq
        self.host_id = change.host_id or self.host_id
        self.upstream = change.upstream_status or self.upstream
        self.local = change.local_status or self.local
        if change.rev is not None and (self.rev is None or self.rev < change.rev):
            self.rev, self.cid = change.rev, change.commit_cid


@st.composite
def logs(draw: st.DrawFn) -> list[AccountChange]:
    """A log: growing seqs with gaps, each touching one account."""
    seq, changes = 0, []
    for _ in range(draw(st.integers(1, 25))):
        seq += draw(st.integers(1, 3))
        rev = draw(st.none() | st.sampled_from(REVS))
        cid = None if rev is None else b"\x01q\x12 " + seq.to_bytes(32)
        changes.append(
            AccountChange(
                uid=draw(st.integers(1, ACCOUNTS)),
                seq=seq,
                host_id=draw(st.none() | st.integers(1, HOSTS)),
                upstream_status=draw(st.none() | st.sampled_from(["active", "deactivated"])),
                local_status=draw(st.none() | st.sampled_from(["active", "takendown"])),
                rev=rev,
                commit_cid=cid,
                data_cid=cid,
            )
        )
    return changes


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=logs(), data=st.data())
def test_any_history_in_any_batches_with_any_repetition(
    new_database: NewDatabase, log: list[AccountChange], data: st.DataObject
) -> None:
    """A crash sends the projector back to any mark at or below the true one: everything after it comes again."""
    with contextlib.closing(new_database()) as database:
        hosts, accounts = HostStore(database), AccountStore(database)
        for number in range(HOSTS):
            hosts.upsert(f"h{number}.test", True, now_us=1)
        models = {accounts.create(f"did:plc:{n}", 1, 1).uid: Model(host_id=1) for n in range(ACCOUNTS)}
        done, revs = 0, dict.fromkeys(models, "")
        while done < len(log):
            start = data.draw(st.integers(0, done), label="from")
            end = data.draw(st.integers(done + 1, len(log)), label="to")
            if start < done:
                event("repeated")
            accounts.apply(log[start:end], log[end - 1].seq)
            for change in log[done:end]:
                models[change.uid].apply(change)
            done = end
            if data.draw(st.booleans(), label="move"):
                uid, host_id = data.draw(st.integers(1, ACCOUNTS)), data.draw(st.integers(1, HOSTS))
                accounts.move(uid, host_id)
                models[uid].host_id = host_id
            for row in accounts.page(0, 10):
                assert (row.rev or "") >= revs[row.uid], "a rev never goes back"
                revs[row.uid] = row.rev or ""
        for row in accounts.page(0, 10):
            assert row.commit_cid == row.data_cid
            assert models[row.uid] == Model(
                row.host_id, row.upstream_status, row.local_status, row.rev, row.commit_cid, row.applied_seq
            )
        assert MetaStore(database).applied_seq() == log[-1].seq
        counts = Counter(model.host_id for model in models.values())
        assert {row.id: row.account_count for row in hosts.all()} == {n: counts[n] for n in range(1, HOSTS + 1)}


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=logs(), data=st.data())
def test_applying_a_log_twice_is_applying_it_once(
    new_database: NewDatabase, log: list[AccountChange], data: st.DataObject
) -> None:
    """Also in pieces, out of which some repeat what is long past."""
    tables = []
    for name in ("once", "twice"):
        with contextlib.closing(new_database()) as database:
            hosts, accounts = HostStore(database), AccountStore(database)
            for number in range(HOSTS):
                hosts.upsert(f"h{number}.test", True, now_us=1)
            for number in range(ACCOUNTS):
                accounts.create(f"did:plc:{number}", 1, 1)
            accounts.apply(log, log[-1].seq)
            if name == "twice":
                start = data.draw(st.integers(0, len(log) - 1))
                accounts.apply(log[start:], log[-1].seq)
                accounts.apply(log[: start + 1], log[start].seq)
            tables.append((accounts.page(0, 10), hosts.all(), MetaStore(database).applied_seq()))
    assert tables[0] == tables[1]
