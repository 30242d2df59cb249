"""What each command does, once its arguments are read and gevent has patched what there is to patch."""

import json
import os
import signal
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import gevent

from tools.simulator.ahead import bench_serve
from tools.simulator.ahead.corpus import DIDS, Documents, import_corpus
from tools.simulator.ahead.pacing import check_rate
from tools.simulator.ahead.serving import Serving
from tools.simulator.ahead.signing import sign as sign_ahead
from tools.simulator.model import Emission, Step
from tools.simulator.oracle.ledger import Ledger
from tools.simulator.servers.control import ControlServer
from tools.simulator.servers.documents import web_did, web_did_port
from tools.simulator.servers.network import Network
from tools.simulator.servers.server import Server
from tools.simulator.worlds.world import GOOD_ONLY, HOSTILE, LIFELIKE, World, WorldConfig
from tools.simulator.worlds.world_repos import WorldRepos

MIXES: Final = {"good": GOOD_ONLY, "lifelike": LIFELIKE, "hostile": HOSTILE}


def sign(arguments: Namespace) -> None:
    ports = range(arguments.base_port + 1 + arguments.hosts, 65_536)
    config = _config(arguments, [web_did(port) for port in ports[: arguments.web_dids]])
    began_s = time.monotonic()
    manifest = sign_ahead(
        config, arguments.events, MIXES[arguments.mix], arguments.folder, ledger=not arguments.no_ledger
    )
    took_s = time.monotonic() - began_s
    _say({"events": manifest.events, "bytes": manifest.byte_count, "eventsPerSecond": round(manifest.events / took_s)})


def serve(arguments: Namespace) -> None:
    _serve(arguments, arguments.folder)


def replay(arguments: Namespace) -> None:
    """The recording becomes a folder first. A did:web whose port is taken is left out; its events stay."""
    dids = arguments.dids or arguments.frames[0].with_name(DIDS)
    with tempfile.TemporaryDirectory(prefix="simulator-") as name:
        manifest = import_corpus(arguments.frames, dids, Path(name), Documents(arguments.documents))
        _serve(arguments, Path(name), [did for did in manifest.web_dids if _is_free(web_did_port(did))])


def live(arguments: Namespace) -> None:
    """Makes events while it runs, so many per second, until there are enough or it is stopped."""
    check_rate(arguments.rate)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(arguments.ledger)) if arguments.ledger else None
        network = Network(
            arguments.hosts,
            web_dids=arguments.web_dids,
            tls=arguments.tls,
            ledger=ledger,
            base_port=arguments.base_port,
        )
        world = World(_config(arguments, network.web_dids))
        stack.enter_context(network)
        network.attach(WorldRepos(world))
        network.play(world.documents())
        script = world.run(arguments.events, mix=MIXES[arguments.mix])
        playing = gevent.spawn(_play, network, script, arguments.rate, at_once=arguments.at_once)
        stack.callback(playing.kill)
        _run(network, ControlServer(network, state=lambda: {"done": playing.ready()}, port=arguments.control_port))


def bench(arguments: Namespace) -> None:
    _say(bench_serve.bench(arguments.events, arguments.hosts, arguments.frame_bytes, tls=arguments.tls))


def _serve(arguments: Namespace, folder: Path, web_dids: list[str] | None = None) -> None:
    serving = Serving(
        folder,
        tls=arguments.tls,
        base_port=arguments.base_port,
        web_dids=web_dids,
        settle_s=arguments.settle,
    )
    with serving:
        begin = serving.play if arguments.at_once else serving.play_when_connected
        begin(arguments.rate)
        control = ControlServer(serving.network, play=serving.play, state=serving.state, port=arguments.control_port)
        _run(serving.network, control)


def _play(network: Network, steps: Iterable[Step], rate: float | None, *, at_once: bool) -> None:
    if not at_once:
        network.wait_connected()
    began_s, emitted = time.monotonic(), 0
    for step in steps:
        if isinstance(step, Emission):
            emitted += 1
            gevent.sleep(0 if rate is None else max(0.0, began_s + emitted / rate - time.monotonic()))
        network.play([step])


def _run(network: Network, control: ControlServer) -> None:
    """Says where everything is, and returns when it is told to end: by POST /stop, SIGTERM or SIGINT."""
    watchers = [gevent.signal_handler(number, control.stopped.set) for number in (signal.SIGTERM, signal.SIGINT)]
    control.start()
    try:
        _say(_addresses(network, control))
        control.stopped.wait()
        gevent.sleep(0)  # POST /stop gets its answer
    finally:
        control.stop()
        for watcher in watchers:
            watcher.cancel()


def _addresses(network: Network, control: Server) -> Mapping[str, object]:
    return {
        "plc": network.plc.url,
        "hosts": [host.name for host in network.hosts],
        "origins": [host.origin for host in network.hosts],
        "webDids": network.web_dids,
        "control": control.origin,
        "caFile": None if network.ca_file is None else str(network.ca_file),
        "pid": os.getpid(),
    }


def _config(arguments: Namespace, web_dids: list[str]) -> WorldConfig:
    return WorldConfig(
        seed=arguments.seed,
        hosts=arguments.hosts,
        accounts_per_host=arguments.accounts,
        p256_share=arguments.p256_share,
        records_per_repo=arguments.records,
        web_dids=tuple(web_dids),
    )


def _is_free(port: int) -> bool:
    server = None
    try:
        server = Server(port)
        server.start()
    except OSError:
        return False
    finally:
        if server is not None:
            server.stop()
    return True


def _say(fields: Mapping[str, object]) -> None:
    print(json.dumps(fields), flush=True)


COMMANDS: Final[Mapping[str, Callable[[Namespace], None]]] = {
    "sign": sign,
    "serve": serve,
    "live": live,
    "replay": replay,
    "bench-serve": bench,
}
ERRORS: Final = (OSError, ValueError)
