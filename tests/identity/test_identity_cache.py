"""What memory keeps, and what goes when it is full."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identity.fakes import did, gone, identity
from zlay_py.identity import cache
from zlay_py.identity.cache import IdentityCache
from zlay_py.identity.model import IdentityState

MINUTE_US = 60_000_000


def test_what_is_put_is_got_and_replaced() -> None:
    kept = IdentityCache(10)
    assert kept.get(did(1)) is None
    kept.put(identity(did(1)))
    newer = identity(did(1), host="other.example.com", at_us=9)
    kept.put(newer)
    assert kept.get(did(1)) is newer
    assert len(kept) == 1


def test_a_full_cache_drops_exactly_the_oldest_tenth_by_resolve_time() -> None:
    kept = IdentityCache(100)
    for number in range(100):  # resolved in another order than put: 99, 98, … and two in each minute
        kept.put(identity(did(number), at_us=(99 - number) * MINUTE_US // 2))
    assert len(kept) == 100
    kept.put(identity(did(100), at_us=0))
    assert {number for number in range(101) if kept.get(did(number)) is None} == set(range(90, 100))
    assert kept.evicted == 10


def test_replacing_an_entry_of_a_full_cache_drops_nothing() -> None:
    kept = IdentityCache(10)
    for number in range(10):
        kept.put(identity(did(number)))
    kept.put(identity(did(3), at_us=5))
    assert len(kept) == 10


@settings(deadline=None)
@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5 * MINUTE_US)), max_size=120),
)
def test_any_history_against_a_sorted_list(entries_max: int, puts: list[tuple[int, int]]) -> None:
    kept = IdentityCache(entries_max)
    model: dict[str, int] = {}
    for number, at_us in puts:
        name = did(number)
        known = model.pop(name, None)
        if known is None and len(model) >= entries_max:
            count = max(1, entries_max // 10)
            limit = sorted(model.values())[count - 1]
            dropped = {name for name in model if kept.get(name) is not None and model[name] <= limit}
            kept.put(identity(name, at_us=at_us))
            gone_now = {name for name in model if kept.get(name) is None}
            assert len(gone_now) == count
            assert gone_now <= dropped, "nothing younger than the oldest tenth"
            for old in gone_now:
                del model[old]
        else:
            kept.put(identity(name, at_us=at_us))
        model[name] = at_us
        assert len(kept) == len(model)
        assert all((entry := kept.get(name)) and entry.resolved_us == model[name] for name in model)


def test_invented_dids_push_nobody_out_but_each_other() -> None:
    kept = IdentityCache(10)
    kept.put(identity(did(1)))
    for number in range(cache.NOT_FOUND_MAX + 5):
        kept.put(gone(of=f"did:web:{number}.example.com"))
    assert kept.get(did(1)) is not None
    assert len(kept) == cache.NOT_FOUND_MAX + 1
    assert kept.get("did:web:4.example.com") is None
    assert kept.get("did:web:5.example.com") is not None
    assert kept.evicted == 0


def test_a_did_that_appears_or_vanishes_is_held_once() -> None:
    kept = IdentityCache(10)
    kept.put(gone())
    kept.put(identity())
    assert len(kept) == 1
    kept.put(gone(IdentityState.TOMBSTONED))
    assert len(kept) == 1
    kept.put(gone())
    entry = kept.get(gone().did)
    assert entry is not None
    assert entry.state is IdentityState.NOT_FOUND
    assert len(kept) == 1
