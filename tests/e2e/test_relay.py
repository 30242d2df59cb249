"""The whole way under gunicorn: real hosts' frames in, the merged stream out, over restarts and kills."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.consumer import Received, TestConsumer
from tests.support.network import Directory, Host, Plc
from tests.support.relay_process import RelayProcess, free_port
from tests.support.repo import Repo, did_document, did_plc

Connect = Callable[..., TestConsumer]
POST = "app.bsky.feed.post"
FIRST_KINDS = ["#identity", "#account", "#commit"]


@pytest.fixture
def plc() -> Iterator[Plc]:
    server = Plc()
    yield server
    server.stop()


@pytest.fixture
def host() -> Iterator[Host]:
    server = Host()
    yield server
    server.stop()


@pytest.fixture
def relay(tmp_path: Path, plc: Plc, host: Host) -> Iterator[RelayProcess]:
    process = RelayProcess(tmp_path, plc.url, [host.name])
    yield process
    process.close()


@pytest.fixture
def connect(relay: RelayProcess) -> Iterator[Connect]:
    """Opens consumers that are closed after the test."""
    with ExitStack() as stack:
        yield lambda cursor=None: stack.enter_context(closing(TestConsumer(relay.ws_url, cursor)))


def new_repo(number: int, plc: Plc, host: Host) -> Repo:
    """An account as a host announces it: identity, account, first commit."""
    repo = Repo(did_plc(number))
    plc.register(repo, host)
    host.emit(repo.identity("someone.test"), repo.account(), repo.commit([]))
    return repo


def post(repo: Repo, number: int) -> bytes:
    return repo.create(f"{POST}/{number:013d}")


def test_events_come_out_with_the_relays_seqs_and_nothing_else_changed(
    relay: RelayProcess, plc: Plc, host: Host, connect: Connect
) -> None:
    relay.start()
    consumer = connect(cursor=0)
    repo = new_repo(1, plc, host)
    host.emit(post(repo, 1), repo.delete(f"{POST}/{1:013d}"), repo.sync())
    events = consumer.take(6)
    assert [event.kind for event in events] == [*FIRST_KINDS, "#commit", "#commit", "#sync"]
    assert [event.seq for event in events] == list(range(1, 7))
    assert "handle" not in events[0].body
    assert events[-1].body["rev"] == repo.rev
    status = relay.get(f"/xrpc/com.atproto.sync.getRepoStatus?did={repo.did}")
    assert status == {"did": repo.did, "active": True, "rev": repo.rev}
    [listed] = relay.get("/xrpc/com.atproto.sync.listHosts")["hosts"]
    assert (listed["hostname"], listed["accountCount"], listed["status"]) == (host.name, 1, "active")
    assert relay.stop() == 0


def test_a_bad_event_is_dropped_and_the_next_good_one_is_not(
    relay: RelayProcess, plc: Plc, host: Host, connect: Connect
) -> None:
    relay.start()
    consumer = connect(cursor=0)
    repo = new_repo(2, plc, host)
    stranger = Repo(did_plc(3))
    plc.documents[stranger.did] = did_document(stranger.did, repo.signer.public, host.url)
    hidden_op = repo.commit([("create", f"{POST}/hidden", {"$type": POST})], changes={"ops": []})
    host.emit(hidden_op, stranger.account(), stranger.commit([]))
    # the last events of both accounts: what was dropped before them can't come any more
    host.emit(repo.account(False, "deactivated"), stranger.account(False, "deactivated"))
    events = consumer.take(6)
    assert [event.kind for event in events if event.did == repo.did] == [*FIRST_KINDS, "#account"]
    assert [event.kind for event in events if event.did == stranger.did] == ["#account", "#account"]
    reasons = {drop["did"]: drop["reason"] for drop in relay.drops()}
    assert reasons == {repo.did: "inversion_failed", stranger.did: "signature_invalid"}


def test_a_consumer_resumes_by_cursor_over_a_restart_with_no_gap(
    relay: RelayProcess, plc: Plc, host: Host, connect: Connect
) -> None:
    relay.start()
    consumer = connect(cursor=0)
    repos = [new_repo(10 + number, plc, host) for number in range(3)]
    host.emit(*(post(repo, number) for number in range(10) for repo in repos))
    before = consumer.take(20)
    assert relay.stop() == 0
    before += consumer.rest()
    host.emit(*(post(repo, 100 + number) for number in range(5) for repo in repos))
    relay.start()
    again = connect(cursor=before[-1].seq)
    rest = again.take(9 + 30 + 15 - len(before) + 1)
    assert rest[0] == before[-1]
    seen = before + rest[1:]
    assert_complete(seen, host)
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1)), "a clean restart leaves no hole"


def test_a_kill_in_the_middle_of_load_loses_nothing_and_reuses_no_seq(
    relay: RelayProcess, plc: Plc, host: Host, connect: Connect
) -> None:
    """Every seq that a consumer saw means the same event for ever; every event of the host comes out once, those
    without a rev as well."""
    relay.start()
    repos = [new_repo(20 + number, plc, host) for number in range(4)]
    seen: dict[int, Received] = {}
    number = 0
    for _ in range(3):
        number += 100
        host.emit(*(post(repo, number + index) for index in range(25) for repo in repos))
        # without a rev, only the upstream seqs in the log can tell these from new ones after a kill
        host.emit(*(event for repo in repos for event in (repo.identity(), repo.account())))
        consumer = connect(cursor=max(seen, default=0))
        for event in consumer.take(40):
            assert seen.setdefault(event.seq, event) == event
        relay.kill()
        relay.start()
    host.emit(*(repo.account(False, "deactivated") for repo in repos))
    consumer = connect(cursor=0)
    everything = consumer.take(len(host.frames))
    assert_complete(everything, host)
    for event in everything:
        assert seen.setdefault(event.seq, event) == event
    assert set(seen) == {event.seq for event in everything}
    seqs = [event.seq for event in everything]
    assert seqs == sorted(set(seqs))


def test_without_its_bootstrap_relay_it_says_so_serves_and_tries_again(tmp_path: Path, plc: Plc, host: Host) -> None:
    relay = RelayProcess(tmp_path, plc.url, [host.name], RELAY_UPSTREAM=f"http://localhost:{free_port()}")
    relay.start()
    try:
        with closing(TestConsumer(relay.ws_url, cursor=0)) as consumer:
            new_repo(30, plc, host)
            assert [event.kind for event in consumer.take(3)] == FIRST_KINDS
        [warning] = [line for line in relay.lines() if line["event"].startswith("bootstrap failed")]
        assert warning["retry_in_s"] > 0
        assert "refused" in warning["error"]
    finally:
        relay.close()


def test_a_listed_host_is_read_from_the_seq_that_the_list_gives(tmp_path: Path, plc: Plc, host: Host) -> None:
    repo = new_repo(31, plc, host)
    host.emit(post(repo, 1))
    upstream = Directory()
    silent: list[dict[str, object]] = [
        {"hostname": f"gone{number}.example.com", "status": "banned"} for number in range(3)
    ]
    upstream.hosts = [*silent, {"hostname": host.name, "seq": 3, "status": "active"}]
    relay = RelayProcess(tmp_path, plc.url, [], RELAY_UPSTREAM=upstream.url)
    relay.start()
    try:
        with closing(TestConsumer(relay.ws_url, cursor=0)) as consumer:
            [first] = consumer.take(1)
            assert first.body["rev"] == repo.rev
        assert host.cursors == ["3"]
    finally:
        relay.close()
        upstream.stop()


def test_optimistic_mode_passes_a_commit_on_before_its_key_is_known(tmp_path: Path, plc: Plc, host: Host) -> None:
    """The directory is silent: the commit goes out, the account's own event waits; then what follows is verified."""
    relay = RelayProcess(tmp_path, plc.url, [host.name], RELAY_VALIDATION="optimistic")
    plc.gate.clear()
    repo = Repo(did_plc(32))
    plc.register(repo, host)
    relay.start()
    try:
        with closing(TestConsumer(relay.ws_url, cursor=0)) as consumer:
            host.emit(repo.commit([]))
            assert [event.kind for event in consumer.take(1)] == ["#commit"]
            host.emit(repo.account())
            plc.gate.set()
            assert [event.kind for event in consumer.take(1)] == ["#account"]
            host.emit(post(repo, 1))
            assert [event.kind for event in consumer.take(1)] == ["#commit"]
        results = relay.metrics()
        assert results['relay_verifications_total{result="unverified"}'] == 1
        assert results['relay_verifications_total{result="verified"}'] == 1
        status = relay.get(f"/xrpc/com.atproto.sync.getRepoStatus?did={repo.did}")
        assert status == {"did": repo.did, "active": True, "rev": repo.rev}
    finally:
        plc.gate.set()
        relay.close()


def assert_complete(seen: list[Received], host: Host) -> None:
    """Each event of the host once, in the order of its DID."""
    emitted: dict[str, list[tuple[str, str, str]]] = {}
    for event in host.events():
        emitted.setdefault(event.did, []).append(event.identity)
    received: dict[str, list[tuple[str, str, str]]] = {}
    for event in seen:
        received.setdefault(event.did, []).append(event.identity)
    assert received == emitted


@pytest.mark.parametrize("variable", ["RELAY_PORT", "RELAY_METRICS_PORT"])
def test_a_port_that_is_taken_is_one_clear_line_and_status_2(tmp_path: Path, plc: Plc, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        relay = RelayProcess(tmp_path, plc.url, [], **{variable: port})
        assert relay.run_to_the_end() == 2
    [line] = [line for line in relay.log.read_text().splitlines() if not line.startswith("{")]
    assert line == f"zlay_py: {variable}: can't listen on 127.0.0.1:{port}: Address already in use"
