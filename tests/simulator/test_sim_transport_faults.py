"""Every fault of the transport, as the client sees it that it happens to."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import gevent
import pytest
import websocket

from tests.support.consumer import TestConsumer
from tests.support.simulator_frames import WAIT_S_MAX, emission, emissions
from tools.simulator.model import Document, DocumentChange
from tools.simulator.servers.host import SUBSCRIBE, HostServer
from tools.simulator.servers.network import Network
from tools.simulator.servers.outages import NOW, OF_EVERY_SERVER, OF_HOSTS, Fault, FaultError
from tools.simulator.servers.server import Server

DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
KEY = "did:key:zQ3shffxu2X2GBVZuYZPMadgtDMFN7MWmqoKsZR8HMq4NmKmA"
SHORT_S = 0.3
"""Long enough for anything that would come to have come."""


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(1, web_dids=1) as network:
        network.play([DocumentChange(did, Document("a.test", KEY, 0)) for did in (DID, *network.web_dids)])
        yield network


@pytest.fixture
def host(network: Network) -> HostServer:
    return network.hosts[0]


@pytest.fixture(params=["plc", "web", "host"])
def answering(request: pytest.FixtureRequest, network: Network) -> tuple[Server, str]:
    """A server and a URL at which it has something to say."""
    plc, (host,), (web,) = network.plc, network.hosts, network.web_servers
    if request.param == "plc":
        return plc, f"{plc.url}/{DID}"
    if request.param == "web":
        return web, f"{web.origin}/.well-known/did.json"
    return host, f"{host.origin}/xrpc/com.atproto.server.describeServer"


def subscribe(host: HostServer, cursor: int | None = 0) -> TestConsumer:
    return TestConsumer(f"ws://{host.name}{SUBSCRIBE}", cursor)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=WAIT_S_MAX) as response:
            json.load(response)
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


class TestEveryServer:
    def test_refused_and_back_on_the_same_port(self, answering: tuple[Server, str]) -> None:
        server, url = answering
        port = server.port
        for _ in range(3):
            server.fail(Fault.REFUSE)
            with pytest.raises(urllib.error.URLError, match="refused"):
                status(url)
            server.clear()
            assert status(url) == 200
        assert server.port == port

    def test_nobody_else_is_given_the_port_meanwhile(self, answering: tuple[Server, str]) -> None:
        server, _ = answering
        server.fail(Fault.REFUSE)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", server.port))

    def test_accepted_and_closed(self, answering: tuple[Server, str]) -> None:
        server, url = answering
        server.fail(Fault.ACCEPT_CLOSE, times=2)
        for _ in range(2):
            with pytest.raises((ConnectionError, urllib.error.URLError)):
                status(url)
        assert status(url) == 200

    def test_another_status_so_many_times(self, answering: tuple[Server, str]) -> None:
        server, url = answering
        server.fail(Fault.STATUS, 503, times=2)
        assert [status(url) for _ in range(3)] == [503, 503, 200]

    def test_garbage(self, answering: tuple[Server, str]) -> None:
        server, url = answering
        server.fail(Fault.GARBAGE)
        with pytest.raises(ValueError, match="decode"):
            status(url)
        server.clear(Fault.GARBAGE)
        assert status(url) == 200

    def test_slow(self, answering: tuple[Server, str]) -> None:
        server, url = answering
        server.fail(Fault.SLOW, SHORT_S)
        began_s = time.monotonic()
        assert status(url) == 200
        assert time.monotonic() - began_s >= SHORT_S

    def test_what_hangs_is_answered_when_it_is_over(self, answering: tuple[Server, str]) -> None:
        server, url = answering
        server.fail(Fault.HANG)
        asking = gevent.spawn(status, url)
        with pytest.raises(gevent.Timeout):
            asking.get(timeout=SHORT_S)
        server.clear(Fault.HANG)
        assert asking.get(timeout=WAIT_S_MAX) == 200

    def test_who_gives_up_on_one_that_hangs_costs_nothing_more(self, answering: tuple[Server, str]) -> None:
        server, url = answering
        server.fail(Fault.HANG)
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(url, timeout=SHORT_S)
        with gevent.Timeout(WAIT_S_MAX):
            assert server._serving.join()  # the greenlets that serve: all of them end

    def test_every_request_is_counted(self, network: Network) -> None:
        network.plc.fail(Fault.STATUS, 500)
        status(f"{network.plc.url}/{DID}")
        network.plc.clear()
        status(f"{network.plc.url}/{DID}")
        assert (network.plc.asked, network.plc.requests) == ({DID: 2}, 2)


class TestUpgrades:
    def test_refused_with_a_status(self, host: HostServer) -> None:
        host.fail(Fault.UPGRADE_STATUS, 429, times=1)
        with pytest.raises(websocket.WebSocketBadStatusException, match="429"):
            subscribe(host)
        subscribe(host).close()
        assert status(f"{host.origin}/_health") == 200

    def test_no_answer_until_it_is_over(self, host: HostServer) -> None:
        host.fail(Fault.UPGRADE_HANG)
        connecting = gevent.spawn(subscribe, host)
        with pytest.raises(gevent.Timeout):
            connecting.get(timeout=SHORT_S)
        assert status(f"{host.origin}/_health") == 200
        host.clear(Fault.UPGRADE_HANG)
        connecting.get(timeout=WAIT_S_MAX).close()

    def test_a_cursor_in_the_future(self, network: Network, host: HostServer) -> None:
        network.play(emissions(3))
        host.fail(Fault.FUTURE_CURSOR, times=1)
        refused = subscribe(host, 2)
        assert [event.body["error"] for event in refused.rest()] == ["FutureCursor"]
        refused.close()
        consumer = subscribe(host, 2)
        assert consumer.next().seq == 3
        consumer.close()
        host.fail(Fault.FUTURE_CURSOR)
        live = subscribe(host, None)
        host.wait_connections(1, WAIT_S_MAX)
        network.play([emission(4)])
        assert live.next().seq == 4
        live.close()


class TestOpenSubscriptions:
    def test_dropped_without_a_close_frame(self, network: Network, host: HostServer) -> None:
        network.play(emissions(2))
        consumer = subscribe(host)
        consumer.take(2)
        host.fail(Fault.DROP)
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            consumer.socket.recv_data(control_frame=True)
        consumer.close()
        host.wait_connections(0, WAIT_S_MAX)

    def test_refusing_leaves_what_is_open(self, network: Network, host: HostServer) -> None:
        consumer = subscribe(host)
        host.fail(Fault.REFUSE)
        network.play(emissions(1))
        assert consumer.next().seq == 1
        consumer.close()

    def test_stalled_gives_nothing_and_no_pong_either(self, network: Network, host: HostServer) -> None:
        consumer = subscribe(host)
        network.play(emissions(1))
        consumer.take(1)
        host.fail(Fault.STALL)
        network.play([emission(2)])
        consumer.socket.ping("there?")
        consumer.socket.settimeout(SHORT_S)
        with pytest.raises(websocket.WebSocketTimeoutException):
            consumer.socket.recv_data(control_frame=True)
        host.clear(Fault.STALL)
        consumer.socket.settimeout(WAIT_S_MAX)
        opcodes = [consumer.socket.recv_data(control_frame=True)[0] for _ in range(2)]
        assert sorted(opcodes) == [2, 10]
        consumer.close()

    def test_held_gives_pongs_and_no_frames(self, network: Network, host: HostServer) -> None:
        consumer = subscribe(host)
        host.fail(Fault.HOLD)
        network.play(emissions(1))
        consumer.socket.ping("there?")
        assert consumer.socket.recv_data(control_frame=True) == (10, b"there?")
        consumer.socket.settimeout(SHORT_S)
        with pytest.raises(websocket.WebSocketTimeoutException):
            consumer.socket.recv_data(control_frame=True)
        host.clear(Fault.HOLD)
        consumer.socket.settimeout(WAIT_S_MAX)
        assert consumer.next().seq == 1
        consumer.close()

    def test_a_drip_is_as_slow_as_it_is_said_to_be_and_the_frame_whole(
        self, network: Network, host: HostServer
    ) -> None:
        host.fail(Fault.DRIP, 10_000)
        network.play([emission(1, size=5_000), emission(2, size=500_000)])
        began_s = time.monotonic()
        consumer = subscribe(host)
        assert consumer.next().body["blocks"] == bytes(5_000)
        assert time.monotonic() - began_s >= 0.4
        host.clear(Fault.DRIP)  # in the middle of the second
        assert consumer.next().body["blocks"] == bytes(500_000)
        consumer.close()

    def test_a_drop_within_a_drip_leaves_a_torn_frame(self, network: Network, host: HostServer) -> None:
        host.fail(Fault.DRIP, 1_000)
        network.play([emission(1, size=5_000)])
        raw = socket.create_connection(("127.0.0.1", host.port), timeout=WAIT_S_MAX)
        with raw:
            key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2V5"
            raw.sendall(f"GET {SUBSCRIBE}?cursor=0 HTTP/1.1\r\nHost: {host.name}\r\n{key}\r\n\r\n".encode())
            received = b""
            while len(received.partition(b"\r\n\r\n")[2]) < 100:
                received += raw.recv(4096)
            host.fail(Fault.DROP)
            while more := raw.recv(4096):
                received += more
        body = received.partition(b"\r\n\r\n")[2]
        assert body[:2] == b"\x82\x7e"
        assert 100 <= len(body) < int.from_bytes(body[2:4], "big")

    def test_a_stall_within_a_drip(self, network: Network, host: HostServer) -> None:
        host.fail(Fault.DRIP, 1_000)
        network.play([emission(1, size=2_000)])
        consumer = subscribe(host)
        host.wait_connections(1, WAIT_S_MAX)
        host.fail(Fault.STALL)
        host.clear(Fault.DRIP)
        consumer.socket.settimeout(SHORT_S)
        with pytest.raises(websocket.WebSocketTimeoutException):
            consumer.socket.recv_data()
        host.clear()
        consumer.socket.settimeout(WAIT_S_MAX)
        assert consumer.next().seq == 1
        consumer.close()

    def test_seqs_begin_anew(self, network: Network, host: HostServer) -> None:
        network.play(emissions(5))
        consumer = subscribe(host, 2)
        consumer.take(3)
        host.fail(Fault.SEQ_RESET)
        assert consumer.rest() == []
        consumer.close()
        refused = subscribe(host, 5)
        assert refused.next().body["error"] == "FutureCursor"
        refused.close()
        network.play([emission(1, "new", epoch=1)])
        again = subscribe(host, 0)
        assert again.next().body["rev"] == "new"
        again.close()
        assert len(host.feed.epochs) == 2


class TestSetting:
    @pytest.mark.parametrize(
        ("fault", "amount", "times"),
        [
            (Fault.STATUS, None, None),
            (Fault.STATUS, 99, None),
            (Fault.SLOW, -1, None),
            (Fault.DRIP, 0, None),
            (Fault.DRIP, float("nan"), None),
            (Fault.HANG, 3, None),
            (Fault.HANG, None, 3),
            (Fault.STATUS, 500, 0),
            (Fault.DROP, None, 2),
        ],
    )
    def test_numbers_that_mean_nothing_are_refused(
        self, host: HostServer, fault: Fault, amount: float | None, times: int | None
    ) -> None:
        with pytest.raises(FaultError, match=str(fault)):
            host.fail(fault, amount, times)
        assert host.faults.state() == {}

    def test_the_directory_has_no_faults_of_hosts(self, network: Network) -> None:
        for fault in OF_HOSTS - OF_EVERY_SERVER:
            with pytest.raises(FaultError, match=str(fault)):
                network.plc.fail(fault, 500)

    def test_what_is_set_can_be_seen_and_cleared(self, host: HostServer) -> None:
        amounts = {Fault.STATUS: 500.0, Fault.UPGRADE_STATUS: 500.0, Fault.SLOW: 1.0, Fault.DRIP: 1.0}
        for fault in OF_HOSTS - NOW:
            host.fail(fault, amounts.get(fault))
        assert set(host.faults.state()) == OF_HOSTS - NOW
        host.clear()
        assert host.faults.state() == {}
        assert status(f"{host.origin}/_health") == 200
