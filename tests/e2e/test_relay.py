"""The whole way under gunicorn: real hosts' frames in, the merged stream out, over restarts and kills; judged."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.consumer import Received, TestConsumer
from tests.support.network import Directory
from tests.support.relay_process import RelayProcess, free_port
from tests.support.scene import Scene
from tools.simulator.model import Emission, Intent
from tools.simulator.servers.outages import Fault
from tools.simulator.worlds import frames

FIRST_KINDS = ["#identity", "#account", "#commit"]
ALL_HIDDEN = 5
"""Of the ways of BAD_PROOF: an operation that the commit does not tell of."""
STRANGERS_KEY = 0
"""Of the ways of BAD_SIGNATURE."""


@pytest.fixture
def upstream() -> Iterator[Directory]:
    directory = Directory()
    yield directory
    directory.stop()


def test_events_come_out_with_the_relays_seqs_and_nothing_else_changed(tmp_path: Path) -> None:
    with Scene(tmp_path, accounts_per_host=1) as scene:
        scene.start()
        [account] = scene.world.accounts
        emitted = scene.introduce()
        emitted += scene.play([*scene.world.commit(account), *scene.world.commit(account, 0, 0, 1)])
        emitted += scene.play(scene.world.sync(account))
        scene.wait_out(emitted)
        events = scene.came()
        assert [event.kind for event in events] == [*FIRST_KINDS, "#commit", "#commit", "#sync"]
        assert [event.seq for event in events] == list(range(1, 7))
        assert "handle" not in events[0].body
        assert events[-1].body["rev"] == account.rev
        assert scene.repo_status(account.did) == {"did": account.did, "active": True, "rev": account.rev}
        [listed] = scene.relay.get("/xrpc/com.atproto.sync.listHosts")["hosts"]
        assert (listed["hostname"], listed["accountCount"], listed["status"]) == (scene.host_names[0], 1, "active")
        found = scene.verdict(decided=[Intent.GOOD])
        assert (found.received, found.doubts) == (7, {})
        assert scene.relay.stop() == 0


def test_a_bad_event_is_dropped_and_the_next_good_one_is_not(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.start()
        scene.introduce()
        scene.settle()
        world = scene.world
        teller, forger = world.accounts
        scene.play(world.fault(Intent.BAD_PROOF, teller, variant=ALL_HIDDEN))
        scene.play(world.fault(Intent.BAD_SIGNATURE, forger, variant=STRANGERS_KEY))
        # the last events of both accounts: what was dropped before them can't come any more
        ends = [*world.commit(teller), *world.deactivate(teller), *world.commit(forger), *world.deactivate(forger)]
        scene.wait_out(scene.play(ends))
        for account in (teller, forger):
            kinds = [event.kind for event in scene.came() if event.did == account.did]
            assert kinds[:3] == FIRST_KINDS
            assert kinds[-2:] == ["#commit", "#account"]
        reasons = {drop["did"]: drop["reason"] for drop in scene.relay.drops()}
        assert reasons == {teller.did: "inversion_failed", forger.did: "signature_invalid"}
        found = scene.verdict(decided=[Intent.GOOD, Intent.BAD_PROOF, Intent.BAD_SIGNATURE])
        assert not found.doubts


def test_a_consumer_resumes_by_cursor_over_a_restart_with_no_gap(tmp_path: Path) -> None:
    with Scene(tmp_path, accounts_per_host=3) as scene:
        scene.start()
        emitted = scene.introduce()
        with closing(TestConsumer(scene.relay.ws_url, 0)) as consumer:
            emitted += [one for _ in range(10) for one in commit_all(scene)]
            before = consumer.take(len(emitted) // 2)
            assert scene.relay.stop() == 0
            before += consumer.rest()
        emitted += [one for _ in range(5) for one in commit_all(scene)]
        scene.start()
        with closing(TestConsumer(scene.relay.ws_url, before[-1].seq)) as again:
            rest = again.take(len(emitted) - len(before) + 1)
        assert rest[0] == before[-1]
        seen = before + rest[1:]
        assert [event.seq for event in seen] == list(range(1, len(emitted) + 1)), "a clean restart leaves no hole"
        assert by_did(event.identity for event in seen) == by_did((one.kind, one.did, one.rev or "") for one in emitted)
        scene.verdict()


@pytest.mark.parametrize("durability", ["fsync", "flush"])
def test_a_kill_in_the_middle_of_load_loses_nothing_and_reuses_no_seq(tmp_path: Path, durability: Any) -> None:
    """Every seq that a consumer saw means the same event for ever; every event of the host comes out once, those
    without a rev as well."""
    with Scene(tmp_path, hosts=2, durability=durability) as scene:
        world, seen = scene.world, dict[int, Received]()
        scene.start()
        scene.introduce()
        scene.settle()
        with scene.flow(world.accounts, 100):
            for _ in range(3):
                for _ in range(25):
                    commit_all(scene)
                for account in world.accounts:
                    # without a rev, only the upstream seqs in the log can tell these from new ones after a kill
                    scene.play([*world.identity(account), *world.fault(Intent.UNKNOWN_FIELDS, account, variant=5)])
                with closing(TestConsumer(scene.relay.ws_url, max(seen, default=0))) as consumer:
                    for event in consumer.take(40):
                        assert seen.setdefault(event.seq, event) == event
                scene.relay.kill()
                scene.start()
        found = scene.verdict(decided=[Intent.GOOD, Intent.UNKNOWN_FIELDS])
        assert not found.doubts, "whatever was emitted had to come out"
        everything = {event.seq: event for event in scene.came()}
        assert seen == {seq: everything[seq] for seq in seen}
        assert len(scene.recorder.sessions()) == 4


def test_without_its_bootstrap_relay_it_says_so_serves_and_tries_again(tmp_path: Path) -> None:
    settings = {"RELAY_UPSTREAM": f"http://localhost:{free_port()}"}
    with Scene(tmp_path, accounts_per_host=1, settings=settings) as scene:
        scene.start()
        scene.wait_out(scene.introduce())
        [warning] = [line for line in scene.relay.lines() if line["event"].startswith("bootstrap failed")]
        assert warning["retry_in_s"] > 0
        assert "refused" in warning["error"]
        scene.verdict()


def test_a_listed_host_is_read_from_the_seq_that_the_list_gives(tmp_path: Path, upstream: Directory) -> None:
    settings = {"RELAY_UPSTREAM": upstream.url}
    with Scene(tmp_path, accounts_per_host=1, relay_hosts=False, settings=settings) as scene:
        [account] = scene.world.accounts
        [host] = scene.network.hosts
        for step in scene.world.introduce(account):  # what nobody has to pass on, and so not in the ledger
            assert isinstance(step, Emission)
            host.emit(step)
        silent: list[dict[str, object]] = [
            {"hostname": f"gone{number}.example.com", "status": "banned"} for number in range(3)
        ]
        upstream.hosts = [*silent, {"hostname": host.name, "seq": 3, "status": "active"}]
        emitted = scene.play(scene.world.commit(account))
        scene.start()
        scene.wait_out(emitted)
        [first] = scene.came()
        assert first.body["rev"] == account.rev
        assert host.cursors == [3]
        scene.verdict()


def test_optimistic_mode_passes_a_commit_on_before_its_key_is_known(tmp_path: Path) -> None:
    """The directory is silent: the commit goes out, the account's own event waits; then what follows is verified."""
    with Scene(tmp_path, accounts_per_host=1, validation="optimistic") as scene:
        [account] = scene.world.accounts
        scene.start()
        scene.network.plc.fail(Fault.HANG)  # for less than a relay has to wait
        account.introduced = True
        scene.wait_out(scene.play(scene.world.commit(account)))
        fields = frames.account(account.did, active=True)
        own = scene.play([scene.world.outlets.say(0, frames.ACCOUNT, fields)])
        scene.until(lambda: scene.relay.metrics()['relay_queue_items{queue="parked"}'] == 1, "nothing waits")
        assert not scene.is_out(own[0])
        scene.network.plc.clear()
        scene.wait_out(own)
        scene.wait_out(scene.play(scene.world.commit(account)))
        assert [event.kind for event in scene.came()] == ["#commit", "#account", "#commit"]
        results = scene.relay.metrics()
        assert results['relay_verifications_total{result="unverified"}'] == 1
        assert results['relay_verifications_total{result="verified"}'] == 1
        assert scene.repo_status(account.did) == {"did": account.did, "active": True, "rev": account.rev}
        scene.verdict()


@pytest.mark.parametrize("variable", ["RELAY_PORT", "RELAY_METRICS_PORT"])
def test_a_port_that_is_taken_is_one_clear_line_and_status_2(tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        relay = RelayProcess(tmp_path, "http://localhost:1", [], **{variable: port})
        assert relay.run_to_the_end() == 2
    [line] = [line for line in relay.log.read_text().splitlines() if not line.startswith("{")]
    assert line == f"zlay_py: {variable}: can't listen on 127.0.0.1:{port}: Address already in use"


def commit_all(scene: Scene) -> list[Emission]:
    """A commit of each account."""
    return [one for account in scene.world.accounts for one in scene.play(scene.world.commit(account))]


def by_did(identities: Iterable[tuple[str, str, str]]) -> dict[str, list[tuple[str, str, str]]]:
    """Of each DID, in order."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for identity in identities:
        found.setdefault(identity[1], []).append(identity)
    return found
