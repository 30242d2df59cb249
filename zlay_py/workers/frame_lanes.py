"""The pooled frame workers: a fixed number of lanes, each a bounded queue and one greenlet.

A DID always uses the same lane, so its events keep their order from whichever host they come; different
DIDs run side by side. A frame that waits for an identity leaves its lane (`ingest.parking`), so that only
frames of its own DID wait behind it.
"""

from collections import deque
from zlib import crc32

import gevent
from gevent.event import Event

from zlay_py.atproto.frame import FrameKind
from zlay_py.clock import Clock
from zlay_py.errors import LocalError, StorageFullError
from zlay_py.ingest.outcome import Accepted, Dropped, DropReason, Outcome, Waiting
from zlay_py.ingest.parking import Parking
from zlay_py.ingest.pipeline import Pipeline
from zlay_py.ingest.stats import IngestStats
from zlay_py.ingest.work import Work
from zlay_py.logs import get_logger
from zlay_py.state.failures import StateUnavailableError
from zlay_py.workers.byte_budget import ByteBudget
from zlay_py.workers.log_writer import LogWriter
from zlay_py.workers.resolver_pool import ResolverPool
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

SWEEP_INTERVAL_S = 1.0
"""How often the parked frames are looked through for ones that waited too long."""

DATABASE_RETRY_S = 0.5
"""Between two tries of a frame that needs a row while the database is away."""


class _Lane:
    """One queue, one greenlet, one parking."""

    def __init__(self, lanes: "FrameLanes", capacity: int) -> None:
        self._lanes = lanes
        self._capacity = capacity
        self._works: deque[Work] = deque()
        self._answers: deque[tuple[str, bool]] = deque()
        self._ready = Event()
        self._space = Event()
        self.parking = Parking()
        self.busy = False

    def __len__(self) -> int:
        return len(self._works)

    @property
    def idle(self) -> bool:
        return not self.busy and not self._works and not self._answers

    def put(self, work: Work) -> None:
        """Waits while the lane is full."""
        while len(self._works) >= self._capacity:
            self._space.clear()
            self._space.wait()
        self._works.append(work)
        self._ready.set()

    def answer(self, did: str, failed: bool) -> None:
        self._answers.append((did, failed))
        self._ready.set()

    def run(self) -> None:
        while True:
            if self._answers:
                did, failed = self._answers.popleft()
                self._resume(did, failed)
            elif self._works:
                work = self._works.popleft()
                self._space.set()
                self._handle(work)
            else:
                self.busy = False
                self._lanes.settled.set()
                self._ready.clear()
                self._ready.wait()
                self.busy = True
                continue
            gevent.sleep(0)  # a full lane must not keep the others, or the sockets, from running

    def sweep(self, now_s: float) -> None:
        for did in self.parking.expired(now_s):
            for work in self._unpark(did):
                self._lanes.drop(work, Dropped(DropReason.PARKED_TOO_LONG, did))

    def _resume(self, did: str, failed: bool) -> None:
        for index, work in enumerate(self._unpark(did)):
            if index == 0:  # the look-up was made for the first; the others may ask for their own
                work.identity_asked = True
            work.identity_failed = failed
            self._handle(work)

    def _handle(self, work: Work) -> None:
        did = work.frame.did
        if did in self.parking:
            if self.parking.add(did, work):
                self._lanes.parked(work)
            else:
                self._lanes.drop(work, Dropped(DropReason.PARKED_TOO_MANY, did))
            return
        waiting = self._lanes.judge(work)
        if waiting is not None:
            self.parking.open(did, work, self._lanes.clock.monotonic_s())
            self._lanes.parked(work)
            self._lanes.resolver.ask(did, refresh=waiting.refresh, urgent=True)

    def _unpark(self, did: str) -> list[Work]:
        works = self.parking.take(did)
        for work in works:
            self._lanes.unparked(work)
        return works


class FrameLanes:
    """Takes frames from the subscribers and brings them to the log writer."""

    def __init__(
        self,
        pipeline: Pipeline,
        writer: LogWriter,
        resolver: ResolverPool,
        stats: IngestStats,
        budget: ByteBudget,
        clock: Clock,
        *,
        lanes: int,
        capacity: int,
    ) -> None:
        self.clock = clock
        self.resolver = resolver
        self.settled = Event()
        self._pipeline = pipeline
        self._writer = writer
        self._stats = stats
        self._budget = budget
        self._lanes = [_Lane(self, capacity) for _ in range(lanes)]

    def start(self, supervisor: Supervisor) -> None:
        for number, lane in enumerate(self._lanes):
            supervisor.spawn(f"frame-lane-{number}", lane.run)
        supervisor.spawn("frame-lanes-sweeper", self._sweep)
        self.resolver.on_answer = self._answered

    def put(self, work: Work) -> None:
        """Waits while its lane or the byte budget is full: that is the back-pressure to the host's socket."""
        self._budget.take(work.size_bytes)
        self._lane(work.frame.did).put(work)

    def queued_frames(self) -> int:
        return sum(len(lane) for lane in self._lanes)

    def parked_frames(self) -> int:
        return sum(lane.parking.frames for lane in self._lanes)

    def parked(self, work: Work) -> None:
        """From the allowance of what runs to that of its host."""
        self._budget.give_back(work.size_bytes)
        work.host.parked_bytes += work.size_bytes

    def unparked(self, work: Work) -> None:
        self._budget.take_at_once(work.size_bytes)
        work.host.parked_bytes -= work.size_bytes
        work.host.room.set()

    def drain(self, timeout_s: float) -> bool:
        """Waits until all lanes have nothing to do but parked frames; False when that took too long."""
        until_s = self.clock.monotonic_s() + timeout_s
        while not all(lane.idle for lane in self._lanes):
            left_s = until_s - self.clock.monotonic_s()
            self.settled.clear()
            if left_s <= 0 or not self.settled.wait(left_s):
                return False
        return True

    def judge(self, work: Work) -> Waiting | None:
        """Runs the pipeline and carries out what it says, but for waiting, which is the lane's own business."""
        outcome = self._process(work)
        if isinstance(outcome, Waiting):
            return outcome
        if isinstance(outcome, Dropped):
            self.drop(work, outcome)
        else:
            self._accept(work, outcome)
        return None

    def _process(self, work: Work) -> Outcome:
        while True:
            try:
                return self._pipeline.process(work)
            except (StateUnavailableError, StorageFullError) as error:
                # our own SQL is away: a frame that waits for it is never dropped, however long that takes
                log.warning("a frame waits for the database", error=str(error))
                gevent.sleep(DATABASE_RETRY_S)
            except LocalError:
                raise
            except Exception:
                log.exception("a frame met a bug of ours", host=work.host.name, seq=work.frame.seq, did=work.frame.did)
                return Dropped(DropReason.INTERNAL_ERROR)

    def drop(self, work: Work, dropped: Dropped) -> None:
        self._stats.dropped[dropped.reason] += 1
        log.debug(
            "dropped",
            reason=dropped.reason,
            detail=dropped.detail[:200],
            host=work.host.name,
            seq=work.frame.seq,
            kind=work.frame.kind,
            did=work.frame.did[:64],
        )
        self._budget.give_back(work.size_bytes)
        work.done()

    def _accept(self, work: Work, accepted: Accepted) -> None:
        kind, delta = work.frame.kind, accepted.entry.delta
        self._stats.accepted[kind] += 1
        if kind in (FrameKind.COMMIT, FrameKind.SYNC):
            self._stats.verified += delta.verified
            self._stats.unverified += not delta.verified
            self._stats.unproven += kind is FrameKind.COMMIT and delta.verified and not delta.inverted
            self._stats.discontinuous += delta.discontinuous
        self._writer.put(accepted.entry, accepted.account, work)
        if accepted.look_up:
            self.resolver.ask(work.frame.did, refresh=False, urgent=False)

    def _answered(self, did: str, failed: bool) -> None:
        self._lane(did).answer(did, failed)

    def _lane(self, did: str) -> _Lane:
        return self._lanes[crc32(did.encode(errors="surrogatepass")) % len(self._lanes)]

    def _sweep(self) -> None:
        while True:
            gevent.sleep(SWEEP_INTERVAL_S)
            now_s = self.clock.monotonic_s()
            for lane in self._lanes:
                lane.sweep(now_s)
