"""The network's controls over HTTP, for whoever runs it in another process. JSON in, JSON out; a mistake answers 400.

POST /faults  {"target": "plc" | "host:N" | "web:N" | "hosts", "fault": NAME, "amount"?: NUMBER, "times"?: N}
POST /faults  {"target": …, "clear": NAME | "all"}
POST /play    {"rate": EVENTS_PER_SECOND | null}         where there is something to be played
GET  /state                                              what there is, who is connected, how far it is
GET  /asked                                              how often the directory was asked for each DID
POST /stop                                               ends the process
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from gevent.event import Event

from tools.simulator.servers.host import HostServer
from tools.simulator.servers.network import Network
from tools.simulator.servers.outages import Fault, FaultError
from tools.simulator.servers.server import Answer, Request, Server, json_answer

CURSORS_SHOWN: Final = 20
"""The last ones of each host."""


class CommandError(ValueError):
    """What was sent is not a command."""


class ControlServer(Server):
    """`stopped` is set by POST /stop. `play` and `state`: of what is played, where something is."""

    def __init__(
        self,
        network: Network,
        *,
        play: Callable[[float | None], None] | None = None,
        state: Callable[[], Mapping[str, object]] | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(port)
        self.stopped = Event()
        self._network = network
        self._play = play
        self._state = state
        self._routes: dict[tuple[str, str], Callable[[Request], object]] = {
            ("POST", "/faults"): self._faults,
            ("POST", "/play"): self._start_playing,
            ("GET", "/state"): self._describe,
            ("GET", "/asked"): lambda _request: dict(self._network.plc.asked),
            ("POST", "/stop"): self._stop,
        }

    def answer(self, request: Request) -> Answer:
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = ", ".join(" ".join(item) for item in self._routes)
            return json_answer(404, {"error": f"{request.method} {request.path}: there is {known}"})
        try:
            return json_answer(200, route(request))
        except (CommandError, FaultError) as error:
            return json_answer(400, {"error": str(error)})

    def _faults(self, request: Request) -> object:
        command = _read(request, {"target", "fault", "amount", "times", "clear"})
        targets = self._targets(command.get("target"))
        if ("fault" in command) == ("clear" in command):
            raise CommandError("either a fault or what to clear")
        if "clear" in command:
            if command.keys() > {"target", "clear"}:
                raise CommandError("clear takes no amount or times")
            fault = None if command["clear"] == "all" else _fault(command["clear"])
            for server in targets:
                server.clear(fault)
        else:
            fault = _fault(command["fault"])
            amount, times = _number(command, "amount"), _number(command, "times")
            if times is not None and times != int(times):
                raise CommandError("times is a whole number")
            for server in targets:
                server.fail(fault, amount, None if times is None else int(times))
        return {server.name: server.faults.state() for server in targets}

    def _start_playing(self, request: Request) -> object:
        if self._play is None:
            raise CommandError("there is nothing to be played")
        command = _read(request, {"rate"})
        try:
            self._play(_number(command, "rate"))
        except ValueError as error:
            raise CommandError(str(error)) from None
        return {}

    def _describe(self, _request: Request) -> object:
        plc = self._network.plc
        return {
            "plc": {"url": plc.url, "requests": plc.requests, "faults": plc.faults.state()},
            "hosts": [_host(host) for host in self._network.hosts],
            "webDids": [
                {"did": server.did, "requests": server.requests, "faults": server.faults.state()}
                for server in self._network.web_servers
            ],
            "playing": self._state() if self._state else None,
        }

    def _stop(self, _request: Request) -> object:
        self.stopped.set()
        return {}

    def _targets(self, text: object) -> list[Server]:
        hosts: list[Server] = [*self._network.hosts]
        named: dict[str, list[Server]] = {"plc": [self._network.plc], "hosts": hosts}
        named |= {f"host:{index}": [server] for index, server in enumerate(hosts)}
        named |= {f"web:{index}": [server] for index, server in enumerate(self._network.web_servers)}
        if not isinstance(text, str) or text not in named:
            raise CommandError(f"target {text!r}: not one of plc, hosts, host:0 to host:{len(hosts) - 1}, web:N")
        return named[text]


def _read(request: Request, names: set[str]) -> dict[str, object]:
    try:
        command = json.loads(request.body or b"{}")
    except ValueError as error:
        raise CommandError(f"not JSON: {error}") from None
    if not isinstance(command, dict) or not command.keys() <= names:
        raise CommandError(f"not an object with fields of {', '.join(sorted(names))}")
    return command


def _fault(name: object) -> Fault:
    try:
        return Fault(str(name))
    except ValueError:
        raise CommandError(f"no fault {name!r}: there are {', '.join(Fault)}") from None


def _number(command: Mapping[str, object], name: str) -> float | None:
    value = command.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise CommandError(f"{name} is a number")


def _host(host: HostServer) -> dict[str, object]:
    feed = host.feed
    return {
        "name": host.name,
        "connections": host.connections,
        "cursors": host.cursors[-CURSORS_SHOWN:],
        "connected": len(host.cursors),
        "requests": host.requests,
        "faults": host.faults.state(),
        "lastSeq": feed.last_seq,
        "epoch": feed.epoch,
        "frames": feed.store.count,
        "released": feed.released,
        "sent": feed.sent,
    }
