"""The HTTP answers: bodies, errors, pages; over a real WSGI call and a real database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import TestClient

from tests.support.identities import NOW_US
from tests.support.repo import did_plc
from zlay_py.api.wsgi import Served, create_app
from zlay_py.atproto import cid
from zlay_py.clock import SystemClock
from zlay_py.ingest.accounts import Accounts
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.work import HostContext
from zlay_py.net.http_refusal import SERVER_HEADER
from zlay_py.state.accounts import AccountChange, AccountStore
from zlay_py.state.database import Database
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import HostStatus, HostStore, NewHost
from zlay_py.workers.host_registry import HostRegistry

ROOT = cid.for_block(b"\xa0")
REV = "3jqfcqzm3fo2j"


class Site:
    """The application over one host with three accounts: seen, unseen, deactivated."""

    def __init__(self, database: Database) -> None:
        self.hosts, self.store, self.registry = HostStore(database), AccountStore(database), HostRegistry()
        names = [f"pds{number}.example.com" for number in range(5)]
        self.rows = self.hosts.upsert_many([NewHost(name, True) for name in names], now_us=NOW_US)
        seen, unseen, gone, taken = (
            self.store.create(did_plc(number), self.rows[0].id, NOW_US) for number in range(1, 5)
        )
        self.store.apply(
            [
                AccountChange(seen.uid, 1, rev=REV, commit_cid=ROOT, data_cid=ROOT),
                AccountChange(gone.uid, 2, upstream_status="deactivated", rev=REV, commit_cid=ROOT, data_cid=ROOT),
                AccountChange(taken.uid, 3, rev=REV, commit_cid=ROOT, data_cid=ROOT),
            ],
            3,
        )
        self.store.set_local_status(taken.uid, "takendown")
        self.seen, self.unseen, self.gone, self.taken = seen.did, unseen.did, gone.did, taken.did
        self.client = TestClient(create_app(Served(Accounts(self.store, SystemClock()), self.hosts, self.registry)))

    def get(self, method: str, **parameters: Any) -> tuple[int, Any]:
        result = self.client.simulate_get(f"/xrpc/{method}", params=parameters)
        return result.status_code, result.json


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    database = Database(database_url)
    yield Site(database)
    database.close()


@pytest.mark.parametrize("path", ["/_health", "/xrpc/_health"])
def test_health(site: Site, path: str) -> None:
    result = site.client.simulate_get(path)
    assert result.json["status"] == "ok"
    assert result.headers["server"] == SERVER_HEADER
    assert "atproto-relay" in SERVER_HEADER


def test_repo_status_and_latest_commit(site: Site) -> None:
    method = "com.atproto.sync.getRepoStatus"
    assert site.get(method, did=site.seen) == (200, {"did": site.seen, "active": True, "rev": REV})
    assert site.get(method, did=site.unseen) == (200, {"did": site.unseen, "active": True})
    assert site.get(method, did=site.gone) == (200, {"did": site.gone, "active": False, "status": "deactivated"})
    assert site.get(method, did=site.taken) == (200, {"did": site.taken, "active": False, "status": "takendown"})
    method = "com.atproto.sync.getLatestCommit"
    assert site.get(method, did=site.seen) == (200, {"cid": cid.to_string(ROOT), "rev": REV})


@pytest.mark.parametrize(
    ("method", "parameters", "status", "name"),
    [
        ("com.atproto.sync.getRepoStatus", {}, 400, "InvalidRequest"),
        ("com.atproto.sync.getRepoStatus", {"did": "nonsense"}, 400, "InvalidRequest"),
        ("com.atproto.sync.getRepoStatus", {"did": did_plc(99)}, 404, "RepoNotFound"),
        ("com.atproto.sync.getLatestCommit", {"did": did_plc(99)}, 404, "RepoNotFound"),
        ("com.atproto.sync.getLatestCommit", {"did": did_plc(2)}, 404, "RepoNotSynchronized"),
        ("com.atproto.sync.getLatestCommit", {"did": did_plc(3)}, 403, "RepoDeactivated"),
        ("com.atproto.sync.getLatestCommit", {"did": did_plc(4)}, 403, "RepoTakendown"),
        ("com.atproto.sync.listHosts", {"limit": "0"}, 400, "InvalidRequest"),
        ("com.atproto.sync.listHosts", {"limit": "1001"}, 400, "InvalidRequest"),
        ("com.atproto.sync.listHosts", {"cursor": "-1"}, 400, "InvalidRequest"),
        ("com.atproto.sync.listHosts", {"limit": "٣"}, 400, "InvalidRequest"),
        ("com.atproto.sync.getHostStatus", {}, 400, "InvalidRequest"),
        ("com.atproto.sync.getHostStatus", {"hostname": "nobody.example.com"}, 404, "HostNotFound"),
        ("com.atproto.sync.getHostStatus", {"hostname": "not a host"}, 400, "InvalidRequest"),
        ("com.atproto.sync.subscribeRepos", {}, 426, "UpgradeRequired"),
        ("com.atproto.sync.subscribeRepos", {"cursor": "abc"}, 400, "InvalidRequest"),
        ("com.atproto.sync.unheardOf", {}, 501, "MethodNotImplemented"),
        ("nonsense", {}, 400, "InvalidRequest"),
    ],
)
def test_errors_are_json_with_their_name(
    site: Site, method: str, parameters: dict[str, str], status: int, name: str
) -> None:
    code, body = site.get(method, **parameters)
    assert (code, body["error"]) == (status, name)
    assert isinstance(body["message"], str)


def test_other_paths_and_verbs_are_json_too(site: Site) -> None:
    missing = site.client.simulate_get("/nowhere")
    assert (missing.status_code, missing.json["error"]) == (404, "NotFound")
    wrong = site.client.simulate_post("/xrpc/com.atproto.sync.listHosts")
    assert (wrong.status_code, wrong.json["error"]) == (405, "InvalidRequest")


def test_a_database_that_is_away_is_no_bug_and_names_no_place(site: Site) -> None:
    def away(*_: object) -> None:
        raise StateUnavailableError("PostgreSQL at db.internal:5432/relay: gone")

    site.hosts.get = away  # type: ignore[method-assign,assignment]
    status, body = site.get("com.atproto.sync.getHostStatus", hostname="pds.example.com")
    assert (status, body["error"]) == (503, "NotEnoughResources")
    assert "db.internal" not in str(body)


def test_a_bug_says_nothing_about_itself(site: Site) -> None:
    def broken(_did: str) -> None:
        raise KeyError("secret")

    accounts = Accounts(site.store, SystemClock())
    accounts.get = broken  # type: ignore[method-assign,assignment]
    client = TestClient(create_app(Served(accounts, site.hosts, site.registry)))
    result = client.simulate_get("/xrpc/com.atproto.sync.getRepoStatus", params={"did": site.seen})
    assert (result.status_code, result.json["error"]) == (500, "InternalServerError")
    assert "secret" not in result.text


def test_browsers_may_ask(site: Site) -> None:
    result = site.client.simulate_get("/_health", headers={"Origin": "https://example.com"})
    assert result.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 200])
def test_the_pages_of_hosts_hold_each_host_once_in_order(site: Site, limit: int) -> None:
    names, cursor = [], None
    for _ in range(10):
        parameters = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        _, body = site.get("com.atproto.sync.listHosts", **parameters)
        assert len(body["hosts"]) <= limit
        names += [host["hostname"] for host in body["hosts"]]
        cursor = body.get("cursor")
        if cursor is None:
            break
    assert names == [row.hostname for row in site.rows]


def test_a_host_shows_its_live_mark_and_status(site: Site) -> None:
    row = site.rows[0]
    site.hosts.set_status(row.id, HostStatus.OFFLINE, "refused", NOW_US)
    site.registry.add(HostContext(row.id, row.hostname, 0, LowWater(77)))
    expected = {"hostname": row.hostname, "accountCount": 4, "status": "offline", "seq": 77}
    assert site.get("com.atproto.sync.getHostStatus", hostname=f"https://{row.hostname}") == (200, expected)
    _, body = site.get("com.atproto.sync.listHosts", limit=1)
    assert body["hosts"] == [expected]


@pytest.mark.needs_fixtures
@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("listHosts", {}),
        ("getHostStatus", {"hostname": "pds1.example.com"}),
        ("getRepoStatus", {"did": did_plc(1)}),
        ("getRepoStatus", {"did": did_plc(3)}),
        ("getLatestCommit", {"did": did_plc(1)}),
    ],
)
def test_answers_have_the_lexicons_fields(
    site: Site, fixtures_dir: Path, method: str, parameters: dict[str, str]
) -> None:
    """Every required field is there, and no field is that the lexicon does not name."""
    lexicon = json.loads((fixtures_dir / "lexicons" / "sync" / f"{method}.json").read_text())
    schema = lexicon["defs"]["main"]["output"]["schema"]
    status, body = site.get(f"com.atproto.sync.{method}", **parameters)
    assert status == 200
    assert set(schema["required"]) <= set(body) <= set(schema["properties"])
    assert set(parameters) <= set(lexicon["defs"]["main"]["parameters"]["properties"])
