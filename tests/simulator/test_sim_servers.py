"""Directory, hosts and did:web servers when nothing is wrong, as clients that nobody here wrote see them."""

import dataclasses
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import gevent
import pytest
import websocket

from tests.support.consumer import TestConsumer
from tests.support.simulator_frames import WAIT_S_MAX, emission, emissions
from tests.support.simulator_process import free_base_port
from tools.simulator.model import Document, DocumentChange, Intent, Step
from tools.simulator.servers.host import SUBSCRIBE, HostServer
from tools.simulator.servers.network import Network
from tools.simulator.worlds.world import World, WorldConfig
from tools.simulator.worlds.world_repos import WorldRepos
from zlay_py.atproto import car, cid, commit, did_document
from zlay_py.atproto.keys import parse_did_key

DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
KEYS = (
    "did:key:zQ3shffxu2X2GBVZuYZPMadgtDMFN7MWmqoKsZR8HMq4NmKmA",
    "did:key:zDnaehRXpsxkpQJsvXmoVdtycEAJLPwFJkR2J7xF8VmQLvaZG",
)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(2, web_dids=1) as network:
        yield network


def subscribe(host: HostServer, cursor: int | None = None) -> TestConsumer:
    return TestConsumer(f"ws://{host.name}{SUBSCRIBE}", cursor)


def get(url: str, context: ssl.SSLContext | None = None) -> tuple[int, Any]:
    """Status and JSON."""
    try:
        with urllib.request.urlopen(url, timeout=WAIT_S_MAX, context=context) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


class TestSubscriptions:
    @pytest.mark.parametrize(("cursor", "first"), [(0, 1), (2, 3), (4, 5)])
    def test_a_cursor_gives_what_is_above_it(self, network: Network, cursor: int, first: int) -> None:
        host = network.hosts[0]
        network.play(emissions(5))
        consumer = subscribe(host, cursor)
        assert [event.seq for event in consumer.take(6 - first)] == list(range(first, 6))
        consumer.close()

    @pytest.mark.parametrize("cursor", [None, 5])
    def test_without_a_cursor_or_at_the_last_there_is_only_what_comes(
        self, network: Network, cursor: int | None
    ) -> None:
        host = network.hosts[0]
        network.play(emissions(5))
        consumer = subscribe(host, cursor)
        host.wait_connections(1, WAIT_S_MAX)
        network.play([emission(6)])
        assert consumer.next().seq == 6
        assert host.cursors == [cursor]
        consumer.close()

    @pytest.mark.parametrize(
        ("query", "error"),
        [("cursor=6", "FutureCursor"), ("cursor=-1", "InvalidRequest"), ("cursor=x", "InvalidRequest")],
    )
    def test_a_cursor_that_cannot_be_is_answered_by_an_error_frame(
        self, network: Network, query: str, error: str
    ) -> None:
        network.play(emissions(5))
        socket = websocket.create_connection(f"ws://{network.hosts[0].name}{SUBSCRIBE}?{query}", timeout=WAIT_S_MAX)
        consumer = TestConsumer.__new__(TestConsumer)
        consumer.socket = socket
        received = consumer.next()
        assert (received.kind, received.body["error"]) == ("error", error)
        opcode, data = socket.recv_data(control_frame=True)
        assert (opcode, int.from_bytes(data[:2], "big"), data[2:].decode()) == (8, 1008, error)
        consumer.close()

    def test_gaps_and_frames_without_a_seq_keep_their_place(self, network: Network) -> None:
        network.play([emission(3), emission(3, "no seq"), emission(9)])
        for cursor, expected in ((0, [3, 3, 9]), (2, [3, 3, 9]), (3, [9]), (8, [9])):
            consumer = subscribe(network.hosts[0], cursor)
            assert [event.seq for event in consumer.take(len(expected))] == expected
            consumer.close()

    def test_every_connection_gets_the_bytes_as_they_were_made(self, network: Network) -> None:
        lengths = (0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1_000_000)  # where the head becomes longer, and about
        played = [
            dataclasses.replace(emission(seq), wire=bytes([seq]) * length) for seq, length in enumerate(lengths, 1)
        ]
        network.play(played)
        sockets = [
            websocket.create_connection(f"ws://{network.hosts[0].name}{SUBSCRIBE}?cursor=0", timeout=WAIT_S_MAX)
            for _ in range(3)
        ]
        for socket in sockets:
            assert [socket.recv_data() for _ in played] == [(2, step.wire) for step in played]
            socket.close()

    def test_what_is_meant_as_text_comes_as_text(self, network: Network) -> None:
        step = emission(1, intent=Intent.TEXT)
        network.play([step])
        socket = websocket.create_connection(
            f"ws://{network.hosts[0].name}{SUBSCRIBE}?cursor=0", timeout=WAIT_S_MAX, skip_utf8_validation=True
        )
        assert socket.recv_data() == (1, step.wire)
        socket.close()

    def test_pings_are_answered_between_frames(self, network: Network) -> None:
        """A pong inside of a frame would tear it: the client could not read on."""
        network.play(emissions(300, size=100_000))
        socket = websocket.create_connection(f"ws://{network.hosts[0].name}{SUBSCRIBE}?cursor=0", timeout=WAIT_S_MAX)
        frames = 0
        pongs: list[bytes] = []
        while frames < 300 or len(pongs) < 3:
            if frames in (1, 100, 200) and len(pongs) == frames // 100:
                socket.ping(f"{frames}")
                pongs.append(b"")
            opcode, data = socket.recv_data(control_frame=True)
            if opcode == 10:
                pongs[-1] = data
            else:
                frames += 1
        socket.ping("last")
        while (answer := socket.recv_data(control_frame=True)) != (10, b"last"):
            assert answer[0] == 10
        socket.close()

    def test_a_consumer_that_leaves_is_noticed_with_and_without_a_close(self, network: Network) -> None:
        host = network.hosts[0]
        polite, rude = subscribe(host), subscribe(host)
        host.wait_connections(2, WAIT_S_MAX)
        polite.socket.close()
        host.wait_connections(1, WAIT_S_MAX)
        rude.socket.shutdown()  # type: ignore[no-untyped-call]
        host.wait_connections(0, WAIT_S_MAX)

    def test_one_that_does_not_read_is_noticed_when_it_leaves(self, network: Network) -> None:
        host = network.hosts[0]
        network.play(emissions(200, size=100_000))
        consumer = subscribe(host, 0)
        host.wait_connections(1, WAIT_S_MAX)
        consumer.socket.shutdown()  # type: ignore[no-untyped-call]
        host.wait_connections(0, WAIT_S_MAX)
        assert host.feed.sent < 200

    def test_a_new_epoch_ends_the_connections_of_the_old(self, network: Network) -> None:
        host = network.hosts[0]
        network.play([*emissions(3), emission(1, "new", epoch=1), emission(2, "new", epoch=1)])
        consumer = subscribe(host, 0)
        assert [event.seq for event in consumer.rest()] == [1, 2, 3]
        consumer.close()
        refused = subscribe(host, 3)
        assert refused.next().body["error"] == "FutureCursor"
        refused.close()
        again = subscribe(host, 0)
        assert [event.body["rev"] for event in again.take(2)] == ["new", "new"]
        again.close()

    def test_anything_but_an_upgrade_is_told_so(self, network: Network) -> None:
        assert get(f"{network.hosts[0].origin}{SUBSCRIBE}")[0] == 426


class TestDirectory:
    @pytest.mark.parametrize("key", KEYS)
    def test_documents_say_what_the_world_says(self, network: Network, key: str) -> None:
        network.play([DocumentChange(DID, Document("a.test", key, 1))])
        status, document = get(f"{network.plc.url}/{DID}")
        parsed = did_document.parse(DID, document)
        assert status == 200
        assert parsed.signing_key == parse_did_key(key)
        assert (parsed.pds_endpoint, parsed.handle) == (network.hosts[1].origin, "a.test")
        assert document["@context"][0] == "https://www.w3.org/ns/did/v1"

    def test_unknown_and_tombstoned(self, network: Network) -> None:
        unknown = get(f"{network.plc.url}/{DID}")
        network.play([DocumentChange(DID, Document("a.test", KEYS[0], 0)), DocumentChange(DID, None)])
        assert unknown == (404, {"message": f"DID not registered: {DID}"})
        assert get(f"{network.plc.url}/{DID}") == (410, {"message": f"DID not available: {DID}"})
        assert network.plc.asked == {DID: 2}

    def test_a_web_did_has_its_document_on_its_own_port(self, network: Network) -> None:
        (did,) = network.web_dids
        url = did_document.web_did_url(did)
        assert get(url)[0] == 404
        network.play([DocumentChange(did, Document("w.test", KEYS[0], 0))])
        status, document = get(url)
        assert status == 200
        assert did_document.parse(did, document).pds_endpoint == network.hosts[0].origin
        assert get(f"{network.plc.url}/{did}")[0] == 404
        network.play([DocumentChange(did, None)])
        assert get(url)[0] == 404

    def test_a_ledger_is_told_of_every_step_before_it_happens(self) -> None:
        told: list[Step] = []

        class Recorder:
            def append(self, step: Step) -> None:
                told.append(step)
                assert network.hosts[0].feed.store.count == sum(1 for item in told[:-1] if item in frames)

        frames = emissions(2)
        change = DocumentChange(DID, Document("a.test", KEYS[0], 0))
        with Network(1, ledger=Recorder()) as network:
            network.play([change, *frames])
        assert told == [change, *frames]


class TestTls:
    def test_hosts_have_certificates_of_the_networks_own_authority(self) -> None:
        with Network(1, tls=True) as network:
            (host,) = network.hosts
            network.play(emissions(1))
            context = ssl.create_default_context(cafile=str(network.ca_file))
            for name in (host.name, f"127.0.0.1:{host.port}"):
                socket = websocket.create_connection(
                    f"wss://{name}{SUBSCRIBE}?cursor=0", timeout=WAIT_S_MAX, sslopt={"context": context}
                )
                assert socket.recv_data() == (2, emission(1).wire)
                socket.close()
            assert get(f"{host.origin}/xrpc/com.atproto.server.describeServer", context)[0] == 200

    def test_who_does_not_trust_it_is_no_trouble(self, capfd: pytest.CaptureFixture[str]) -> None:
        with Network(1, tls=True) as network:
            url = f"{network.hosts[0].origin}/_health"
            with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
                get(url)
            assert get(url, ssl.create_default_context(cafile=str(network.ca_file)))[0] == 200
        assert capfd.readouterr().err == ""


class TestQueries:
    @pytest.fixture
    def world(self, network: Network) -> World:
        world = World(WorldConfig(hosts=2, accounts_per_host=3, web_dids=tuple(network.web_dids)))
        network.attach(WorldRepos(world))
        network.play(world.documents())
        for account in world.accounts:
            network.play([*world.introduce(account), *world.commit(account, creates=3)])
        return world

    def test_without_a_world_every_account_is_unknown(self, network: Network) -> None:
        origin = network.hosts[0].origin
        assert get(f"{origin}/xrpc/com.atproto.server.describeServer")[1]["did"].startswith("did:web:localhost")
        assert get(f"{origin}/xrpc/_health") == (200, {"version": "simulator"})
        assert get(f"{origin}/xrpc/com.atproto.sync.listRepos") == (200, {"repos": []})
        status, body = get(f"{origin}/xrpc/com.atproto.sync.getRepo?did={DID}")
        assert (status, body["error"]) == (400, "RepoNotFound")
        assert get(f"{origin}/xrpc/com.atproto.sync.nothing")[0] == 501

    def test_repositories_are_listed_in_pages(self, network: Network, world: World) -> None:
        url = f"{network.hosts[1].origin}/xrpc/com.atproto.sync.listRepos?limit=2"
        _, first = get(url)
        _, second = get(f"{url}&cursor={first['cursor']}")
        listed = [*first["repos"], *second["repos"]]
        assert "cursor" not in second
        assert [(item["did"], item["rev"], item["active"]) for item in listed] == [
            (account.did, account.rev, True) for account in world.accounts if account.host == 1
        ]

    def test_a_repository_is_what_its_host_says_of_it(self, network: Network, world: World) -> None:
        account = world.accounts[0]
        sync = f"{network.hosts[account.host].origin}/xrpc/com.atproto.sync."
        _, latest = get(f"{sync}getLatestCommit?did={quote(account.did)}")
        with urllib.request.urlopen(f"{sync}getRepo?did={quote(account.did)}") as response:
            assert response.headers["Content-Type"] == "application/vnd.ipld.car"
            repository = car.parse(response.read())
        (root,) = repository.roots
        assert (cid.to_string(root), account.rev) == (latest["cid"], latest["rev"])
        read = commit.decode(repository.blocks[root], did=account.did, rev=latest["rev"])
        assert parse_did_key(account.signer.did_key).verify(read.sig, read.unsigned)
        status = {"did": account.did, "active": True, "rev": account.rev}
        assert get(f"{sync}getRepoStatus?did={quote(account.did)}") == (200, status)
        _, described = get(f"{network.hosts[0].origin}/xrpc/com.atproto.repo.describeRepo?repo={quote(account.did)}")
        assert described["didDoc"]["id"] == account.did
        assert described["collections"]

    def test_inactive_moved_and_deleted_accounts(self, network: Network, world: World) -> None:
        asleep, moved, gone = (account for account in world.accounts if account.host == 0)
        network.play([*world.deactivate(asleep), *world.migrate(moved, 1), *world.delete(gone)])
        sync = f"{network.hosts[0].origin}/xrpc/com.atproto.sync."
        for account in (asleep, moved):
            expected = {"did": account.did, "active": False, "status": "deactivated"}
            assert get(f"{sync}getRepoStatus?did={quote(account.did)}") == (200, expected)
            assert get(f"{sync}getLatestCommit?did={quote(account.did)}")[1]["error"] == "RepoDeactivated"
        assert get(f"{sync}getRepoStatus?did={quote(gone.did)}")[1]["error"] == "RepoNotFound"
        there = f"{network.hosts[1].origin}/xrpc/com.atproto.sync.getRepoStatus?did={quote(moved.did)}"
        assert get(there)[1]["active"] is True


def test_ports_can_be_chosen_and_one_that_is_taken_is_an_error() -> None:
    with Network(1) as first, pytest.raises(OSError, match=str(first.plc.port)):
        Network(1, base_port=first.plc.port)
    base_port = free_base_port()
    with Network(1, base_port=base_port) as second:
        assert second.plc.port == base_port
        assert second.hosts[0].port == second.plc.port + 1


def test_who_waits_for_connections_is_told_when_every_host_has_one(network: Network) -> None:
    waiting = gevent.spawn(network.wait_connected, WAIT_S_MAX)
    first = subscribe(network.hosts[0])
    network.hosts[0].wait_connections(1, WAIT_S_MAX)
    assert not waiting.ready()
    second = subscribe(network.hosts[1])
    waiting.get(timeout=WAIT_S_MAX)
    first.close()
    second.close()
    with pytest.raises(TimeoutError):
        network.hosts[0].wait_connections(7, timeout_s=0)
