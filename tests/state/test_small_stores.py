"""Meta, identities, domain bans; and that every statement of every store exists for PostgreSQL as well."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, select

from zlay_py.state import schema
from zlay_py.state.account_registry import AccountRegistry
from zlay_py.state.accounts import AccountStore
from zlay_py.state.bans import DomainBanStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostStore
from zlay_py.state.identities import IdentityRow, IdentityRowStore
from zlay_py.state.leftovers import LeftoverTable
from zlay_py.state.meta import MetaStore
from zlay_py.state.sql import SqlTexts

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"


def test_facts_are_replaced_and_marks_only_grow(database: Database) -> None:
    meta = MetaStore(database)
    assert meta.get("disk_budget_bytes") is None
    meta.put("disk_budget_bytes", "100")
    meta.put("disk_budget_bytes", "20")
    assert meta.get("disk_budget_bytes") == "20"
    assert meta.applied_seq("index") == meta.applied_seq() == meta.cursor_checkpoint() == 0
    for seq in (9, 10, 2, 9):
        meta.save_applied_seq("index", seq)
    assert meta.applied_seq("index") == 10, "numbers, not text: 9 is not more than 10"
    assert meta.applied_seq() == 0


def test_an_identity_row_is_replaced_by_the_last_one_saved(database: Database) -> None:
    rows = IdentityRowStore(database)
    assert rows.load(DID) is None
    first = IdentityRow(DID, "ok", b"\x01" + bytes(33), "pds.example.com", "a.example.com", 7)
    rows.save([first, first._replace(did="did:web:a.test")])
    assert rows.load(DID) == first
    gone = IdentityRow(DID, "tombstoned", None, None, None, 6)
    rows.save([gone])
    assert rows.load(DID) == gone
    rows.save([gone._replace(stale=True)])
    assert rows.load(DID) == gone._replace(stale=True)
    rows.save([])


def test_a_row_that_was_asked_before_it_was_put_in_doubt_is_stale(database: Database) -> None:
    rows = IdentityRowStore(database)
    rows.save(IdentityRow(f"did:web:{at_us}.test", "ok", None, None, None, at_us) for at_us in (6, 7, 8))
    rows.mark_stale([])
    for _ in range(2):
        rows.mark_stale([(f"did:web:{at_us}.test", 7) for at_us in (6, 7, 8, 9)])
    loaded = {at_us: rows.load(f"did:web:{at_us}.test") for at_us in (6, 7, 8, 9)}
    assert {at_us: row and row.stale for at_us, row in loaded.items()} == {6: True, 7: True, 8: False, 9: None}


def test_a_ban_covers_the_domain_and_everything_below(database: Database) -> None:
    bans = DomainBanStore(database)
    assert bans.add("example.com", 1)
    assert not bans.add("example.com", 2)
    bans.add("localhost", 3)
    assert bans.all() == ["example.com", "localhost"]
    assert bans.covering("example.com") == "example.com"
    assert bans.covering("a.b.example.com") == "example.com"
    assert bans.covering("localhost:3000") == "localhost"
    assert bans.covering("badexample.com") is None
    assert bans.covering("com") is None
    assert bans.remove("example.com")
    assert not bans.remove("example.com")
    assert bans.covering("a.b.example.com") is None


@settings(deadline=None)
@given(st.text(alphabet="abC-.é", max_size=30))
def test_a_name_is_covered_only_by_its_own_suffixes(name: str) -> None:
    seen: list[str] = []

    def one(_text: str, parameters: tuple[str]) -> None:
        seen.append(parameters[0])

    bans = DomainBanStore(cast(Database, SimpleNamespace(sql=SqlTexts("sqlite"), one=one)))
    bans.covering(name)
    assert all(name == domain or name.endswith("." + domain) for domain in seen)
    assert seen[:1] == ([name] if name else [])


def test_a_statement_whose_placeholders_move_is_refused() -> None:
    row = schema.meta.c
    statement = select(row.value).where(row.key == bindparam("a"), row.value == bindparam("b"))
    SqlTexts("sqlite").text(statement, "a", "b")
    with pytest.raises(AssertionError, match="placeholders"):
        SqlTexts("sqlite").text(statement, "b", "a")


@pytest.mark.parametrize(
    "store", [AccountStore, AccountRegistry, HostStore, LeftoverTable, MetaStore, IdentityRowStore, DomainBanStore]
)
def test_every_statement_compiles_for_postgresql(store: Any) -> None:
    made = store(SimpleNamespace(sql=SqlTexts("postgresql")))
    texts = [value for value in vars(made).values() if isinstance(value, str)]
    if hasattr(made, "_texts"):
        texts += vars(made._texts).values()
    assert len(texts) >= 2
    assert all("?" not in text for text in texts)
    assert any("%s" in text for text in texts)
