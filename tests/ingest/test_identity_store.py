"""Identities in SQL come back as they were; a row that we can't have written is not taken for one."""

from collections.abc import Iterator

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.identity.fakes import DID, KEY, OTHER_KEY, ManualClock, ScriptedResolver, did, identity
from zlay_py.errors import CorruptionError
from zlay_py.identity.directory import Directory
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.identity.store import IdentityStore
from zlay_py.ingest.identity_store import SqlIdentityStore
from zlay_py.state.database import Database
from zlay_py.state.identities import IdentityRow, IdentityRowStore


@pytest.fixture
def rows(database_url: str) -> Iterator[IdentityRowStore]:
    database = Database(database_url)
    yield IdentityRowStore(database)
    database.close()


identities = st.builds(
    Identity,
    did=st.integers(0, 500).map(did),
    state=st.sampled_from(IdentityState),
    key=st.sampled_from([None, KEY, OTHER_KEY]),
    pds_host=st.none() | st.just("pds.example.com"),
    handle=st.none() | st.just("someone.example.com"),
    resolved_us=st.integers(0, 2**62),
    stale=st.booleans(),
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(identities, max_size=8, unique_by=lambda entry: entry.did))
def test_what_is_saved_is_loaded(rows: IdentityRowStore, batch: list[Identity]) -> None:
    store: IdentityStore = SqlIdentityStore(rows)
    store.save(batch)
    assert [store.load(entry.did) for entry in batch] == batch


def test_what_was_never_saved_is_none(rows: IdentityRowStore) -> None:
    assert SqlIdentityStore(rows).load(DID) is None


@pytest.mark.parametrize(
    "row",
    [
        IdentityRow(DID, "gone fishing", None, None, None, 1),
        IdentityRow(DID, "ok", b"", "pds.example.com", None, 1),
        IdentityRow(DID, "ok", b"\x09" + bytes(33), "pds.example.com", None, 1),
    ],
)
def test_a_row_that_is_not_ours_names_itself(rows: IdentityRowStore, row: IdentityRow) -> None:
    rows.save([row])
    with pytest.raises(CorruptionError, match=DID):
        SqlIdentityStore(rows).load(DID)


def test_the_next_start_knows_what_this_one_learned(rows: IdentityRowStore) -> None:
    clock = ManualClock()
    resolver = ScriptedResolver(clock)
    resolver.answers = {did(number): identity(did(number)) for number in range(40)}
    first = Directory(resolver, SqlIdentityStore(rows), clock, cache_entries_max=100)
    gevent.joinall([gevent.spawn(first.resolve, name) for name in resolver.answers], raise_error=True)
    first.close()
    second = Directory(resolver, SqlIdentityStore(rows), clock, cache_entries_max=100)
    assert [second.cached(name) for name in resolver.answers] == list(resolver.answers.values())
    assert len(resolver.asked) == 40
    second.close()
