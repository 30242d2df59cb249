"""What a start makes of the `#identity` records that it finds above the checkpoint."""

import pytest

from tests.eventlog.builders import event, make_log
from tests.eventlog.memory_files import MemoryFiles
from tests.support.repo import Repo, did_plc
from zlay_py.atproto import frame
from zlay_py.eventlog.record import Entry, RecordKind, did_hash
from zlay_py.ingest.replay import find_replays
from zlay_py.ingest.told_identities import ToldIdentities
from zlay_py.state.database import Database
from zlay_py.state.identities import IdentityRow, IdentityRowStore

TOLD_US = 1_000
UIDS = {1: did_plc(1), 2: did_plc(2)}
HOSTS = {1: "pds.example.com", 2: "other.example.com"}


@pytest.fixture
def rows(database: Database) -> IdentityRowStore:
    return IdentityRowStore(database)


def told(number: int, seq: int, *, host_id: int = 1, kind: RecordKind = RecordKind.IDENTITY) -> Entry:
    """An `#identity` of DID `number`, which has a row if it is in UIDS."""
    repo = Repo(did_plc(number))
    read = frame.decode(repo.identity())
    entry = event(seq, host_id=host_id, upstream_epoch=0)
    entry.kind, entry.payload, entry.time_us = kind, read.payload, TOLD_US
    entry.seq_span = frame.seq_span(read.payload, read.kind)
    entry.uid = number if number in UIDS else 0
    entry.did_hash = 0 if number in UIDS else did_hash(repo.did)
    return entry


def start(rows: IdentityRowStore, *entries: Entry, from_seq: int = 1, mark: int = 0) -> list[tuple[str, str]]:
    log = make_log(files=MemoryFiles())
    log.open()
    for entry in entries:
        log.append([entry])
    asked: list[tuple[str, str]] = []
    known = ToldIdentities(
        rows, lambda uids: {uid: UIDS[uid] for uid in uids}, HOSTS, lambda did, host: asked.append((did, host))
    )
    find_replays(log, from_seq, {1: (0, mark)}, [], lambda _uids: {}, known.take)
    return asked


def stale(rows: IdentityRowStore) -> set[int]:
    found = {number: rows.load(did_plc(number)) for number in range(1, 9)}
    return {number for number, row in found.items() if row is not None and row.stale}


def save(rows: IdentityRowStore, **resolved_us: int) -> None:
    rows.save(
        IdentityRow(did_plc(int(name[1:])), "ok", b"", "pds.example.com", None, at_us)
        for name, at_us in resolved_us.items()
    )


def test_what_was_asked_before_is_stale_and_asked_again(rows: IdentityRowStore) -> None:
    save(rows, n1=TOLD_US - 1, n2=TOLD_US, n3=5, n4=5, n5=5)
    other = told(4, 8, kind=RecordKind.ACCOUNT)
    asked = start(rows, told(1, 5), told(3, 6), told(2, 7, host_id=2), other, told(6, 9), told(3, 10, host_id=77))
    assert stale(rows) == {1, 2, 3}, "by uid, by what the payload says; not another kind of event, nor another DID"
    assert asked == [
        (did_plc(1), HOSTS[1]),
        (did_plc(3), HOSTS[1]),
        (did_plc(2), HOSTS[2]),
        (did_plc(6), HOSTS[1]),
    ], "each by the host that told, if there still is one"
    assert rows.load(did_plc(6)) is None


def test_an_answer_that_is_newer_needs_no_mark(rows: IdentityRowStore) -> None:
    save(rows, n1=TOLD_US + 1)
    start(rows, told(1, 5))
    assert stale(rows) == set()


def test_the_latest_word_counts(rows: IdentityRowStore) -> None:
    save(rows, n1=TOLD_US + 1, n3=TOLD_US + 1)
    late, early = told(1, 5), told(1, 6)
    late.time_us = TOLD_US + 2
    start(rows, late, early)
    assert stale(rows) == {1}


def test_a_mark_that_has_passed_the_event_does_not_hide_it_and_the_checkpoint_does(rows: IdentityRowStore) -> None:
    """One host's unfinished frame holds the checkpoint, and the others' marks go on."""
    save(rows, n1=5, n2=5)
    start(rows, told(1, 5), told(2, 6), from_seq=2, mark=100)
    assert stale(rows) == {2}
