"""The pooled frame workers: a fixed number of lanes, each a bounded queue and one greenlet.

A DID always uses the same lane, so its events keep their order from whichever host they come; different
DIDs run side by side. A frame that can't be judged yet leaves its lane (`ingest.parking`), so that only
frames of its own DID wait behind it.
"""

from collections import deque
from zlib import crc32

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from zlay_py.atproto.frame import FrameKind
from zlay_py.clock import Clock
from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import LocalError, StorageFullError
from zlay_py.ingest.outcome import Accepted, Dropped, DropReason, Need, Outcome, Waiting
from zlay_py.ingest.parking import Parking
from zlay_py.ingest.pipeline import Pipeline
from zlay_py.ingest.stats import IngestStats
from zlay_py.ingest.work import Work
from zlay_py.logs import Throttle, get_logger
from zlay_py.state.failures import StateUnavailableError
from zlay_py.workers.byte_budget import ByteBudget
from zlay_py.workers.log_writer import LogWriter
from zlay_py.workers.resolver_pool import Answer, ResolverPool
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

_JUDGED, _QUEUED = CrashPoint.FRAME_JUDGED, CrashPoint.ENTRY_QUEUED  # finding one costs more than the call: every frame

TURN_FRAMES_MAX = 4
TURN_BYTES_MAX = 65_536
"""What a lane may judge before the others get their turn, frames or one large frame: a millisecond or two."""

SWEEP_INTERVAL_S = 0.5
"""How often the parked frames are looked through: for ones that waited too long, and for ones that wait for our SQL."""

TELLING = frozenset({DropReason.IDENTITY_UNRESOLVABLE, DropReason.PARKED_TOO_LONG})
"""Drops that say more about a directory, or about us, than about the event: a line a minute tells of them."""


class _Lane:
    """One queue, one greenlet, one parking."""

    def __init__(self, lanes: "FrameLanes", capacity: int) -> None:
        self._lanes = lanes
        self._works: deque[Work] = deque()
        self._resumed: deque[tuple[str, bool]] = deque()
        self._ready = Event()
        self._room = BoundedSemaphore(capacity)
        self.parking = Parking()

    def __len__(self) -> int:
        return len(self._works)

    def put(self, work: Work) -> None:
        """Waits while the lane is full; whoever waited longest goes first."""
        self._room.acquire()
        self._works.append(work)
        self._ready.set()

    def answer(self, answer: Answer) -> None:
        """Called by the resolver. An answer to an older or another host's question changes nothing."""
        if not self.parking.answers(answer.did, answer.asker, refreshed=answer.refreshed):
            return
        if answer.away:
            self.parking.wait_for_database(answer.did)
        else:
            self._resume_later(answer.did, answer.failed)

    def sweep(self, now_s: float) -> None:
        for did in self.parking.expired(now_s):
            for work in self._unpark(did):
                self._lanes.drop(work, Dropped(DropReason.PARKED_TOO_LONG, did))
        if not self._resumed:  # else the last round is not through yet
            for did in self.parking.for_database():
                self._resume_later(did, False)

    def run(self) -> None:
        turn_frames = 0
        while True:
            if self._resumed:
                self._resume(*self._resumed.popleft())
            elif self._works:
                work = self._works.popleft()
                self._room.release()
                self._handle(work)
                turn_frames += 1
                if turn_frames >= TURN_FRAMES_MAX or work.size_bytes >= TURN_BYTES_MAX:
                    turn_frames = 0
                    gevent.sleep(0)  # a full lane must not keep the others, or the sockets, from running
            else:
                self._ready.clear()
                self._ready.wait()

    def _resume_later(self, did: str, failed: bool) -> None:
        self._resumed.append((did, failed))
        self._ready.set()

    def _resume(self, did: str, failed: bool) -> None:
        for_database = self.parking.needs_database(did)
        for index, work in enumerate(self._unpark(did)):
            if index == 0 and not for_database:
                work.identity_asked = True  # it was for this frame; the ones behind it may ask for their own
            work.identity_failed = failed
            self._handle(work)
            gevent.sleep(0)

    def _handle(self, work: Work) -> None:
        did = work.frame.did
        if did in self.parking:
            self.parking.add(did, work)
            self._lanes.parked(work)
            return
        waiting = self._lanes.judge(work)
        if waiting is not None:
            self.parking.open(did, waiting.need, work, self._lanes.clock.monotonic_s())
            self._lanes.parked(work)
            if waiting.need is not Need.DATABASE:
                self._lanes.resolver.ask(did, work.host.name, waiting.need, urgent=True)

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
        reached: Reached = pass_by,
    ) -> None:
        self.clock = clock
        self.resolver = resolver
        self._pipeline = pipeline
        self._writer = writer
        self._stats = stats
        self._budget = budget
        self._reached = reached
        self._lanes = [_Lane(self, capacity) for _ in range(lanes)]
        self._throttle = Throttle(clock)
        self.parked_bytes = 0
        """Of all hosts' parked frames together."""
        self._unsettled = 0
        self._settled = Event()
        self._settled.set()

    def start(self, supervisor: Supervisor) -> None:
        self.resolver.on_answer = self._answered
        for number, lane in enumerate(self._lanes):
            supervisor.spawn(f"frame-lane-{number}", lane.run)
        supervisor.spawn("frame-lanes-sweeper", self._sweep)

    def put(self, work: Work) -> None:
        """Waits while its lane or the byte budget is full: that is the back-pressure to the host's socket."""
        self._budget.take(work.size_bytes)
        try:
            self._lane(work.frame.did).put(work)
        except BaseException:  # the subscriber was killed while it waited
            self._budget.give_back(work.size_bytes)
            raise
        self._count(1)

    def queued_frames(self) -> int:
        return sum(len(lane) for lane in self._lanes)

    def parked_frames(self) -> int:
        return sum(lane.parking.frames for lane in self._lanes)

    @property
    def waiting_for_database(self) -> int:
        """Frames that our own SQL keeps waiting."""
        return sum(lane.parking.frames_for_database for lane in self._lanes)

    def drain(self, timeout_s: float) -> bool:
        """Waits until every frame is on its way to the log, dropped, or parked; False when that took too long."""
        return bool(self._settled.wait(timeout_s))

    def judge(self, work: Work) -> Waiting | None:
        """Runs the pipeline and carries out what it says, but for waiting, which is the lane's own business."""
        outcome = self._process(work)
        self._reached(_JUDGED)
        if isinstance(outcome, Waiting):
            return outcome
        if isinstance(outcome, Dropped):
            self.drop(work, outcome)
        else:
            self._accept(work, outcome)
        return None

    def drop(self, work: Work, dropped: Dropped) -> None:
        self._stats.dropped[dropped.reason] += 1
        if dropped.reason in TELLING and (left_out := self._throttle.allow(dropped.reason)) is not None:
            log.warning(
                "events are dropped because identities can't be resolved",
                reason=dropped.reason,
                host=work.host.name,
                did=work.frame.did,
                left_out=left_out,
            )
        log.debug(
            "dropped",
            reason=dropped.reason,
            detail=dropped.detail,
            host=work.host.name,
            seq=work.frame.seq,
            kind=work.frame.kind,
            did=work.frame.did,
        )
        self._budget.give_back(work.size_bytes)
        work.done()
        self._count(-1)

    def parked(self, work: Work) -> None:
        """From the allowance of what runs to that of its host."""
        self._budget.give_back(work.size_bytes)
        work.host.parked_bytes += work.size_bytes
        self.parked_bytes += work.size_bytes
        self._count(-1)

    def unparked(self, work: Work) -> None:
        self._budget.take_at_once(work.size_bytes)
        work.host.parked_bytes -= work.size_bytes
        self.parked_bytes -= work.size_bytes
        work.host.room.set()
        self._count(1)

    def _process(self, work: Work) -> Outcome:
        try:
            return self._pipeline.process(work)
        except (StateUnavailableError, StorageFullError) as error:
            if (left_out := self._throttle.allow("database")) is not None:
                log.warning("frames wait for the database", error=str(error), left_out=left_out)
            return Waiting(work.frame.did, Need.DATABASE)
        except LocalError:
            raise
        except Exception:
            log.exception("a frame met a bug of ours", host=work.host.name, seq=work.frame.seq, did=work.frame.did)
            return Dropped(DropReason.INTERNAL_ERROR)

    def _accept(self, work: Work, accepted: Accepted) -> None:
        kind, delta = work.frame.kind, accepted.entry.delta
        self._stats.accepted[kind] += 1
        if kind in (FrameKind.COMMIT, FrameKind.SYNC):
            self._stats.verified += delta.verified
            self._stats.unverified += not delta.verified
            self._stats.unproven += kind is FrameKind.COMMIT and delta.verified and not delta.inverted
            self._stats.discontinuous += delta.discontinuous
        self._writer.put(accepted.entry, accepted.account, work)
        self._reached(_QUEUED)
        if accepted.look_up:
            self.resolver.ask(work.frame.did, work.host.name, Need.IDENTITY, urgent=False)
        self._count(-1)

    def _answered(self, answer: Answer) -> None:
        self._lane(answer.did).answer(answer)

    def _lane(self, did: str) -> _Lane:
        return self._lanes[crc32(did.encode(errors="surrogatepass")) % len(self._lanes)]

    def _count(self, change: int) -> None:
        self._unsettled += change
        if self._unsettled:
            self._settled.clear()
        else:
            self._settled.set()

    def _sweep(self) -> None:
        while True:
            gevent.sleep(SWEEP_INTERVAL_S)
            now_s = self.clock.monotonic_s()
            for lane in self._lanes:
                lane.sweep(now_s)
