"""`com.atproto.sync.listHosts` and `getHostStatus`: the hosts this relay crawls."""

import falcon

from zlay_py.api import params
from zlay_py.api.errors import XrpcError, invalid_request
from zlay_py.errors import SyntaxInvalidError
from zlay_py.net.hostname import parse_hostname
from zlay_py.state.hosts import HostRow, HostStore
from zlay_py.workers.host_registry import HostRegistry

LIMIT_DEFAULT = 200
LIMIT_MAX = 1_000
ROW_ID_MAX = 2**63 - 1
HOSTNAME_CHARS_MAX = 300


class _HostResource:
    def __init__(self, hosts: HostStore, registry: HostRegistry) -> None:
        self._hosts = hosts
        self._registry = registry

    def _shape(self, row: HostRow) -> dict[str, object]:
        live = self._registry.get(row.id)
        seq = live.water.mark if live is not None and live.water.mark is not None else row.cursor
        body: dict[str, object] = {"hostname": row.hostname, "accountCount": row.account_count, "status": row.status}
        if seq is not None:
            body["seq"] = seq
        return body


class ListHosts(_HostResource):
    """Oldest first; the cursor is the last row's id."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        limit = params.number(req, "limit", default=LIMIT_DEFAULT, low=1, high=LIMIT_MAX)
        after_id = params.number(req, "cursor", default=0, low=0, high=ROW_ID_MAX)
        rows = self._hosts.page(after_id, limit + 1)
        body: dict[str, object] = {"hosts": [self._shape(row) for row in rows[:limit]]}
        if len(rows) > limit:
            body["cursor"] = str(rows[limit - 1].id)
        resp.media = body


class GetHostStatus(_HostResource):
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        text = params.text(req, "hostname", chars_max=HOSTNAME_CHARS_MAX)
        try:
            name = parse_hostname(text, allow_local=True).name
        except SyntaxInvalidError as error:
            raise invalid_request(f"hostname: {error}") from error
        row = self._hosts.get(name)
        if row is None:
            raise XrpcError(404, "HostNotFound", f"{name} is not known here")
        resp.media = self._shape(row)
