"""One relay through many deaths, with a world that goes on meanwhile, and a judge at the end.

The world is `tools.simulator`: real signatures and proofs, a directory, hosts that send again what is above a cursor.
Everything it emits here is good and has to come out, once, in the order of its account: none is excused by a crash.
"""

from collections.abc import Iterable
from pathlib import Path
from random import Random
from time import monotonic
from urllib.error import HTTPError

import gevent
import pytest

from tests.crash.crash_process import CrashProcess, Nursery
from tests.crash.plan import Plan
from tests.crash.watcher import Watcher, read_all
from tools.simulator.model import Step
from tools.simulator.oracle.judge import Findings, Judge
from tools.simulator.oracle.ledger import Ledger
from tools.simulator.oracle.rules import Policy
from tools.simulator.servers.network import Network
from tools.simulator.worlds.world import Action, Mix, World, WorldConfig
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.record import Record
from zlay_py.eventlog.verify import read_ceiling, read_records, verify_segments

HOSTS = 3
ACCOUNTS_PER_HOST = 4
CHUNK = 20
CAUGHT_UP_S_MAX = 60.0

BUSY = Mix(
    {
        Action.CREATE: 70.0,
        Action.UPDATE: 5.0,
        Action.DELETE: 5.0,
        Action.SEVERAL: 2.0,
        Action.SYNC: 2.0,
        Action.IDENTITY: 8.0,
        Action.DEACTIVATE: 2.0,
        Action.REACTIVATE: 5.0,
        Action.CREATE_ACCOUNT: 1.0,
    }
)
"""Nothing that a relay may be in doubt about; much without a rev, which only the log can tell from new events."""


class Trial:
    """Use as a context manager: it ends what it has started."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        durability: Durability,
        *,
        nursery: Nursery | None = None,
        disk_budget_bytes: int | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.random = Random(f"trial/{seed}")
        self.durability = durability
        self.disk_budget_bytes = disk_budget_bytes
        """What is more than that is dropped, and has to be in what the watcher saw."""
        self.may_lose_power = disk_budget_bytes is None or durability is Durability.FSYNC
        """In flush mode a loss of power takes back what was sent, and that has to come again. Once the segments of that
        time are dropped, nobody can tell it from what comes twice."""
        self.power_lost = False
        self.seed = seed
        self.story: list[str] = []
        self.ledger = Ledger()
        self.world = World(WorldConfig(seed=seed, hosts=HOSTS, accounts_per_host=ACCOUNTS_PER_HOST, record_bytes=200))
        self.network = Network(HOSTS, ledger=self.ledger)
        self.network.start()
        self.network.play(self.world.documents())
        self.relay = CrashProcess(
            folder,
            self.network.plc.url,
            [host.name for host in self.network.hosts],
            nursery,
            RELAY_DURABILITY=durability,
            RELAY_LOG_LEVEL="info",
            **settings,
        )
        self.watcher = Watcher(self.relay.ws_url)

    def __enter__(self) -> "Trial":
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.stop()
        self.relay.close()
        self.network.stop()

    @property
    def data(self) -> Path:
        return self.folder / "events"

    # ── the world goes on ──

    def play(self, events: int, *, per_s: float | None = None) -> None:
        """So many events, and what has begun with them to its end: else a scene's own would come in between, and the
        rest of it after them, under seqs that fall. With a rate, no faster than that. Ends early where the relay dies
        of its plan."""
        began_s, done = monotonic(), 0
        while done < events and (per_s is None or self.relay.alive):
            self.network.play(self.world.run(CHUNK, mix=BUSY))
            done += CHUNK
            gevent.sleep(0 if per_s is None else max(0.0, began_s + done / per_s - monotonic()))

    def happen(self, steps: Iterable[Step]) -> None:
        self.network.play(steps)

    # ── the relay's ends ──

    def start(self, **plan: object) -> bool:
        """False: it died before it served."""
        self.ledger.restarted()
        told = self.folder / "told"
        told.unlink(missing_ok=True)
        seed = self.random.randrange(2**32)
        made = Plan(told=str(told), seed=seed, disk_budget_bytes=self.disk_budget_bytes, **plan)  # type: ignore[arg-type]
        self.story.append(f"{made.point or 'no point'} {made.nth} {made.event} seed={made.seed}")
        return self.relay.start_or_die(made)

    @property
    def told(self) -> bool:
        """What was planned has happened."""
        return (self.folder / "told").exists()

    def end(self, *, power: bool) -> None:
        """Whatever of it is alive dies now."""
        if self.relay.alive and power:
            self.relay.lose_power()
        self.power_lost |= power
        self.story.append(f"  ended, status {self.relay.bury()}, last seq seen {self.watcher.last_seq}")

    def tear(self) -> None:
        """The relay was killed inside a write."""
        newest = max(self.data.glob("evts-*[0-9]"), key=lambda path: int(path.name[5:]))
        with newest.open("ab") as file:
            file.write(self.random.randbytes(self.random.randint(1, 300)))

    def settle(self) -> None:
        """Until every host's mark is at the last frame that it has sent: all is durable, and projected."""
        wanted = {self.network.hosts[host].name: seq for host, seq in self.ledger.last_seqs().items()}
        with gevent.Timeout(CAUGHT_UP_S_MAX, AssertionError(f"{self._marks()} instead of {wanted}")):
            while any(self._marks().get(name, 0) < seq for name, seq in wanted.items()):
                assert self.relay.alive, self.relay.log.read_text()[-3000:]
                gevent.sleep(0.05)
        self.ledger.settled()

    def _marks(self) -> dict[str, int]:
        hosts = self.relay.get("/xrpc/com.atproto.sync.listHosts")["hosts"]
        return {host["hostname"]: host.get("seq", 0) for host in hosts}

    # ── the judgement ──

    def judge(self) -> Findings:
        """The relay is started once more, has to come to the end of all that was emitted, stops, and is read from its
        beginning."""
        if self.relay.alive:
            self.end(power=False)
        assert self.start()
        self.settle()
        assert self.relay.stop() == 0
        records = self.check_files()
        assert self.start()
        last_sent = max(record.seq for record in records)
        final = read_all(self.relay.ws_url, last_sent)
        policy = Policy(
            validation="optimistic",
            durability=self.durability.value,
            power_lost=self.power_lost,
            oldest_seq=1 if self.disk_budget_bytes is None else records[0].seq,
        )
        judge = Judge(self.ledger, policy, host_names=[host.name for host in self.network.hosts])
        found = judge.judge(self.watcher.sessions, final, self.world.ends(), self._repo_status)
        assert self.relay.stop() == 0
        if not found.ok:
            pytest.fail("\n".join([*self.story, found.summary()]))
        return found

    def check_files(self) -> list[Record]:
        """After a clean stop: the log is whole, and closed."""
        assert [report.problem for report in verify_segments(self.data) if report.problem] == []
        state = read_ceiling(self.data)
        assert state is not None
        assert state.clean
        return list(read_records(self.data))

    def _repo_status(self, did: str) -> dict[str, object] | None:
        """None for an account that the relay does not know: of the youngest one it may not have heard yet."""
        try:
            answer: dict[str, object] = self.relay.get(f"/xrpc/com.atproto.sync.getRepoStatus?did={did}")
        except HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise
        return answer
