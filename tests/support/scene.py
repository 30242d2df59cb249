"""The stage of an end-to-end test: a world, its network, the relay as a process, a consumer that records, the judge.

    world ─ steps ─▶ network (directory, hosts) ─▶ relay process ─▶ recorder
               └──▶ ledger ─────────────────────────────▶ judge ◀──────┘

Use as a context manager. A test that ends without `verdict` has failed: nobody looked at what came out.
"""

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import gevent
import pytest

from tests.support.consumer import Received, decode
from tests.support.relay_process import RelayProcess
from tools.simulator.model import Emission, Intent, Step
from tools.simulator.oracle import normalise
from tools.simulator.oracle.judge import Findings, Judge
from tools.simulator.oracle.ledger import Ledger
from tools.simulator.oracle.recording import Recorder, read_until
from tools.simulator.oracle.rules import Policy
from tools.simulator.oracle.waiting import marks_of, wait_until_handled
from tools.simulator.servers.network import Network
from tools.simulator.servers.outages import Fault
from tools.simulator.worlds.accounts import Account
from tools.simulator.worlds.world import World, WorldConfig
from tools.simulator.worlds.world_repos import WorldRepos
from zlay_py.identity import allowance

WAIT_S_MAX = 40.0
LOOK_S = 0.05
"""Between two looks at another process: there is no other way to learn how far it is."""

OUR_BUGS = ("bug of ours", "Traceback")
"""Words of a relay's log that no host, directory or disk may bring about."""


class Scene:
    """`accounts_per_host` are in the directory, and nobody has heard of them. `web_dids` of them are did:web.

    `relay_hosts`: False if the relay is to learn of its hosts in another way. `settings`: more of the relay's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        hosts: int = 1,
        accounts_per_host: int = 2,
        seed: int = 1,
        web_dids: int = 0,
        tls: bool = False,
        relay_hosts: bool = True,
        validation: Literal["optimistic", "strict"] = "strict",
        sync11: Literal["strict", "ratchet", "lenient"] = "ratchet",
        durability: Literal["fsync", "flush"] = "fsync",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.ledger = Ledger()
        self.network = Network(hosts, web_dids=web_dids, tls=tls, ledger=self.ledger)
        self.world = World(
            WorldConfig(
                seed=seed,
                hosts=hosts,
                accounts_per_host=accounts_per_host,
                p256_share=0.5,
                web_dids=tuple(self.network.web_dids),
            )
        )
        self.policy = Policy(
            validation,
            sync11,
            durability,
            ratchet_forgets=True,
            refresh_burst=allowance.BURST,
            refresh_refill_s=allowance.REFILL_S,
        )
        trusted = {} if self.network.ca_file is None else {"RELAY_CA_FILE": str(self.network.ca_file)}
        origins = [host.origin if tls else host.name for host in self.network.hosts]
        self.relay = RelayProcess(
            folder,
            self.network.plc.url,
            origins if relay_hosts else [],
            RELAY_VALIDATION=validation,
            RELAY_SYNC11=sync11,
            RELAY_DURABILITY=durability,
            **trusted,
            **(settings or {}),
        )
        self.recorder = Recorder(self.relay.ws_url)
        self._counted = 0
        self._came: Counter[bytes] = Counter()
        self._wanted: Counter[bytes] = Counter()
        self._started = self._judged = False

    def __enter__(self) -> Self:
        self.network.start()
        self.network.attach(WorldRepos(self.world))
        self.play(self.world.documents())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.recorder.stop()
        self.relay.close()
        self.network.stop()
        assert self._judged or kind is not None, "the judge was not asked"

    # ── the relay ──

    def start(self) -> None:
        """Also once more, after `stop` or `kill`."""
        if self._started:
            self.ledger.restarted()
        self.relay.start()
        if not self._started:
            self.recorder.start()
        self._started = True

    def readiness(self) -> tuple[int, list[str]]:
        """Status and reasons of `/_ready`."""
        status, body = self._ask_metrics_port("/_ready")
        return status, list(body.get("reasons", []))

    def health(self) -> list[int]:
        """Statuses of `/_health` on both ports."""
        self.relay.get("/_health")
        return [200, self._ask_metrics_port("/_health")[0]]

    def wait_until_not_ready(self, reason: str) -> None:
        """For a reason that has these words."""
        self.until(lambda: any(reason in text for text in self.readiness()[1]), f"/_ready never said: {reason}")
        assert self.readiness()[0] == 503

    def wait_until_ready(self) -> None:
        self.until(lambda: self.readiness()[0] == 200, "/_ready never said 200 again")

    def until(self, is_so: Callable[[], bool], complaint: str, timeout_s: float = WAIT_S_MAX) -> None:
        ends_at_s = monotonic() + timeout_s
        while not is_so():
            if monotonic() > ends_at_s:
                raise AssertionError(f"{complaint}\n{self._end_of_log()}")
            gevent.sleep(LOOK_S)

    # ── the world ──

    def play(self, steps: Iterable[Step]) -> list[Emission]:
        """Makes them happen. Returns the frames among them."""
        played = list(steps)
        self.network.play(played)
        return [step for step in played if isinstance(step, Emission)]

    def introduce(self, accounts: Iterable[Account] | None = None) -> list[Emission]:
        """None: all that there are. Their hosts tell of them."""
        chosen = self.world.accounts.copy() if accounts is None else accounts
        return [one for account in chosen for one in self.play(self.world.introduce(account))]

    @contextmanager
    def flow(self, accounts: Sequence[Account], per_s: float) -> Iterator[None]:
        """Meanwhile events of these happen at this rate: all good, and none that a relay may be in doubt about."""

        def run() -> None:
            steps, began_s, done = self._life(accounts), monotonic(), 0
            while True:
                due = int((monotonic() - began_s) * per_s) - done
                self.play(islice(steps, due))
                done += due
                gevent.sleep(1 / per_s)

        running = gevent.spawn(run)
        try:
            yield
        finally:
            running.kill()
            running.get()  # its error, if it had one

    def _life(self, accounts: Sequence[Account]) -> Iterator[Step]:
        for number in count():
            account = accounts[number % len(accounts)]
            if number % 11 == 10:
                yield from self.world.identity(account)
            elif number % 13 == 12:
                yield from self.world.sync(account)
            else:
                yield from self.world.commit(account, 1, number % 5 == 4, number % 7 == 6)

    # ── what comes out ──

    def came(self) -> list[Received]:
        """What the recorder has so far, decoded, in the order of the relay's seqs; once each."""
        by_seq = {one.seq: one for one in self.recorder.since(0)}
        return [decode(by_seq[seq].wire) for seq in sorted(by_seq)]

    def wait_out(self, emissions: Iterable[Emission], timeout_s: float = WAIT_S_MAX) -> None:
        """Until the consumer has got each of them."""
        missing = [one for one in emissions if not self.is_out(one)]
        ends_at_s = monotonic() + timeout_s
        while missing:
            if not self.recorder.wait_beyond(self._counted, ends_at_s - monotonic()):
                names = [f"{one.kind} {one.did} host {one.host} seq {one.seq}" for one in missing]
                raise AssertionError(f"did not come out: {names}\n{self._end_of_log()}")
            missing = [one for one in missing if not self.is_out(one)]

    def is_out(self, emission: Emission) -> bool:
        for received in self.recorder.since(self._counted):
            self._counted += 1
            self._came[normalise.read(received.wire).digest] += 1
        return self._came[normalise.read(emission.wire).digest] > 0

    def settle(self, timeout_s: float = WAIT_S_MAX) -> None:
        """Until the relay is done with all that was played, and with all look-ups that this led to."""
        waited = wait_until_handled(self.ledger, self.policy, self.recorder, self.marks, timeout_s=timeout_s)
        assert waited.done, "\n".join([*waited.missing, self._end_of_log()])
        before = -1

        def rests() -> bool:
            """Twice in a row: a question may be on its way between the relay and the directory."""
            nonlocal before
            metrics = self.relay.metrics()
            items = sum(value for name, value in metrics.items() if name.startswith("relay_queue_items"))
            asked = sum(server.requests for server in (self.network.plc, *self.network.web_servers))
            still, before = asked == before, asked if not items else -1
            return not items and still

        self.until(rests, "the relay's queues do not get empty")
        self.ledger.settled()

    def marks(self) -> dict[int, int]:
        """By host: how far the relay says that it is."""
        return marks_of(self.relay.get("/xrpc/com.atproto.sync.listHosts")["hosts"], self.host_names)

    @property
    def host_names(self) -> list[str]:
        return [host.name for host in self.network.hosts]

    def repo_status(self, did: str) -> dict[str, Any] | None:
        """None: the relay does not know it."""
        try:
            answer: dict[str, Any] = self.relay.get(f"/xrpc/com.atproto.sync.getRepoStatus?did={quote(did, safe='')}")
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
            return None
        return answer

    def verdict(self, *, emitted: Collection[Intent] = (), decided: Collection[Intent] = ()) -> Findings:
        """Of all that happened so far; ends the test if anything is wrong. The relay is up, and so is its network.

        `emitted`: each of these was to be. `decided`: and at least one of each beyond doubt.
        """
        self.settle()
        # whatever else was to come is before this one
        last = next(account for account in self.world.accounts if account.introduced)
        self.wait_out(self.play(self.world.identity(last)))
        self.settle()
        final = read_until(self.relay.ws_url, cursor=0, until_seq=self.recorder.last_seq, idle_s=WAIT_S_MAX)
        judge = Judge(self.ledger, self.policy, host_names=self.host_names)
        found = judge.judge(
            self.recorder.sessions(),
            final,
            self.world.ends(),
            self.repo_status,
            expect_intents=emitted,
            expect_decided=decided,
        )
        self._judged = True
        if not found.ok:
            pytest.fail(found.summary())
        ours = [line for line in self.relay.log.read_text().splitlines() if any(word in line for word in OUR_BUGS)]
        assert not ours, ours
        return found

    # ── the directory ──

    @contextmanager
    def directory_fails(self, fault: Fault, amount: float | None = None) -> Iterator[None]:
        """Meanwhile; the judge knows of it."""
        self.ledger.directory_down()
        self.network.plc.fail(fault, amount)
        try:
            yield
        finally:
            self.network.plc.clear()
            self.ledger.directory_up()

    def _ask_metrics_port(self, path: str) -> tuple[int, dict[str, Any]]:
        url = f"http://127.0.0.1:{self.relay.metrics_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def _end_of_log(self) -> str:
        return self.relay.log.read_text()[-3000:] if self.relay.log.exists() else "no log"
