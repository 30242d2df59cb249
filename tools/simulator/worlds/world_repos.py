"""What a world's hosts say of its accounts when they are asked, at the state in which the world is now."""

from base64 import b32encode
from collections.abc import Sequence

from tools.simulator.servers.host import HostedRepo
from tools.simulator.worlds.accounts import Account
from tools.simulator.worlds.world import World


class WorldRepos:
    """`host.Repos` of a world. An account that has moved away is deactivated where it was; a deleted one is gone."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_did: dict[str, Account] = {}
        self._known = 0

    def repo(self, host: int, did: str) -> HostedRepo | None:
        account = self._account(did)
        return None if account is None else _hosted(host, account)

    def repos(self, host: int) -> Sequence[HostedRepo]:
        return [repo for account in self._world.accounts if (repo := _hosted(host, account)) is not None]

    def car(self, did: str) -> bytes:
        account = self._account(did)
        assert account is not None, f"asked for a repository that is not here: {did}"
        return account.repo.export()

    def collections(self, did: str) -> list[str]:
        account = self._account(did)
        if account is None:
            return []
        return sorted({key.partition(b"/")[0].decode() for key, _ in account.repo.tree.entries()})

    def _account(self, did: str) -> Account | None:
        """Accounts only become more."""
        for account in self._world.accounts[self._known :]:
            self._by_did[account.did] = account
        self._known = len(self._world.accounts)
        return self._by_did.get(did)


def _hosted(host: int, account: Account) -> HostedRepo | None:
    if not account.introduced or account.status == "deleted":
        return None
    head = account.repo.head
    rev, cid = (head.rev, "b" + b32encode(head.cid).decode().lower().rstrip("=")) if head else (None, None)
    if account.host == host:
        return HostedRepo(account.did, account.handle, account.active, account.status, rev, cid)
    if host in account.former_hosts:
        return HostedRepo(account.did, account.handle, False, "deactivated", rev, cid)
    return None
