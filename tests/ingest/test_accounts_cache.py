"""Which account states may leave memory."""

from tests.ingest.conftest import Bench
from zlay_py.ingest.accounts import Accounts
from zlay_py.ingest.outcome import DropReason
from zlay_py.ingest.pipeline import Pipeline
from zlay_py.settings import Sync11, Validation
from zlay_py.state.accounts import AccountStore

CACHED_MAX = 3


def with_few_in_memory(bench: Bench) -> None:
    bench.accounts = Accounts(AccountStore(bench.database), bench.clock, cached_max=CACHED_MAX)
    bench.pipeline = Pipeline(
        bench.accounts, bench.directory, bench.clock, validation=Validation.STRICT, sync11=Sync11.STRICT
    )


def test_a_state_that_sql_does_not_have_stays_in_memory(bench: Bench) -> None:
    """Here nobody brings the log into SQL: an account that left would come back without a rev."""
    with_few_in_memory(bench)
    repo = bench.repo(1)
    first = repo.commit([])
    bench.accept(first)
    for number in range(2, 2 + 2 * CACHED_MAX):
        bench.accept(bench.repo(number).identity())
        bench.accounts.create(bench.repo(number).did, bench.hosts["pds.example.com"].id)
    assert len(bench.accounts) == CACHED_MAX
    assert bench.drop(first) is DropReason.REV_OLD


def test_a_state_that_sql_has_may_leave(bench: Bench) -> None:
    with_few_in_memory(bench)
    host_id = bench.hosts["pds.example.com"].id
    states = [bench.accounts.create(bench.repo(number).did, host_id) for number in range(1, 3 * CACHED_MAX)]
    assert len(bench.accounts) == CACHED_MAX
    assert bench.accounts.get(states[0].did) is not states[0]
    assert bench.accounts.get(states[-1].did) is states[-1]
