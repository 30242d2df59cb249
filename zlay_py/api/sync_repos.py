"""`com.atproto.sync.getRepoStatus` and `getLatestCommit`: what this relay knows of one account."""

import falcon

from zlay_py.api import params
from zlay_py.api.errors import XrpcError
from zlay_py.atproto import cid
from zlay_py.ingest import account_status
from zlay_py.ingest.account_status import Visible
from zlay_py.ingest.accounts import Accounts, AccountState

INACTIVE_ERRORS = {
    "takendown": "RepoTakendown",
    "suspended": "RepoSuspended",
    "deactivated": "RepoDeactivated",
    "deleted": "RepoDeleted",
}
"""Error names of the lexicon, and the reference relay's for `deleted`; any other status is RepoInactive."""


class _AccountResource:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def _find(self, req: falcon.Request) -> tuple[AccountState, Visible]:
        did = params.did(req)
        account = self._accounts.get(did)
        if account is None:
            raise XrpcError(404, "RepoNotFound", f"{did} is not known here")
        return account, account_status.combined(account.local_status, account.upstream_status)


class GetRepoStatus(_AccountResource):
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        account, visible = self._find(req)
        body: dict[str, object] = {"did": account.did, "active": visible.active}
        if visible.status is not None:
            body["status"] = visible.status
        if visible.active and account.rev is not None:
            body["rev"] = account.rev
        resp.media = body


class GetLatestCommit(_AccountResource):
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        account, visible = self._find(req)
        if not visible.active:
            name = INACTIVE_ERRORS.get(visible.status or "", "RepoInactive")
            raise XrpcError(403, name, f"{account.did} is {visible.status or 'inactive'}")
        if account.rev is None or account.commit is None:
            raise XrpcError(404, "RepoNotSynchronized", f"no commit of {account.did} was seen yet")
        resp.media = {"cid": cid.to_string(account.commit), "rev": account.rev}
