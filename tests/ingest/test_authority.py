"""Who may speak for an account when its document says nothing."""

from tests.ingest.conftest import HOME, OTHER, Bench
from tests.support.identities import MemoryStore
from tests.support.repo import Repo, with_seq
from zlay_py.atproto import frame
from zlay_py.identity.directory import Directory
from zlay_py.identity.model import IdentityState
from zlay_py.ingest.authority import Authoritative, Authority
from zlay_py.ingest.outcome import DropReason, Need, Waiting
from zlay_py.ingest.work import Work


def work_of(bench: Bench, repo: Repo, host: str) -> Work:
    context = bench.hosts[host]
    return Work(context, context.water, frame.decode(with_seq(repo.account(), 1)), bench.clock.us)


def test_a_row_speaks_for_its_own_host_only(bench: Bench) -> None:
    """As after a start: the row is there, and the identity is in nobody's memory."""
    repo = bench.repo()
    bench.accept(repo.account())
    forgetful = Directory(bench.resolver, MemoryStore(), bench.clock, cache_entries_max=10)
    authority = Authority(bench.accounts, forgetful)
    account = bench.accounts.get(repo.did)
    assert account is not None
    assert authority.check(work_of(bench, repo, HOME), repo.did) == Authoritative(account, None)
    assert authority.check(work_of(bench, repo, OTHER), repo.did) == Waiting(repo.did, Need.IDENTITY)


def test_without_a_document_only_the_old_host_is_heard(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.account())
    bench.resolver.answer(repo.did, IdentityState.TOMBSTONED)
    bench.directory.mark_stale(repo.did)
    assert bench.drop(repo.account(False, "deleted"), OTHER) is DropReason.IDENTITY_NOT_FOUND
    account = bench.accounts.get(repo.did)
    assert account is not None
    assert account.upstream_status == "active"
    bench.accept(repo.account(False, "deleted"), HOME)
