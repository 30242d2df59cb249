"""Events that would take an account somewhere it never was: late ones, forged ones, and gaps that hardly show."""

from tests.ingest.conftest import Bench
from tests.support.repo import Repo, Signer
from zlay_py.ingest.accounts import AccountState
from zlay_py.ingest.outcome import DropReason

POST = "app.bsky.feed.post"


def account_of(bench: Bench, repo: Repo) -> AccountState:
    account = bench.accounts.get(repo.did)
    assert account is not None
    return account


def test_a_sync_that_is_older_than_what_is_known_is_dropped(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    late = repo.sync()
    bench.accept(repo.create(f"{POST}/a"))
    known = account_of(bench, repo)
    before = (known.rev, known.commit, known.data)
    assert bench.drop(late) is DropReason.REV_OLD
    assert (known.rev, known.commit, known.data) == before == (repo.rev, repo.commit_cid, repo.root)


def test_a_forged_sync_changes_no_state(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    known = account_of(bench, repo)
    before = (known.rev, known.commit, known.data)
    repo.signer = Signer()
    assert bench.drop(repo.sync()) is DropReason.SIGNATURE_INVALID
    assert (known.rev, known.commit, known.data) == before


def test_a_gap_that_left_the_tree_as_it_was_is_flagged_too(bench: Bench) -> None:
    """The commit that is missing changed no record: only `since` tells of it."""
    repo = bench.repo()
    bench.accept(repo.commit([]))
    repo.commit([])
    assert bench.accept(repo.create(f"{POST}/a")).entry.delta.discontinuous
    assert not bench.accept(repo.create(f"{POST}/b")).entry.delta.discontinuous
