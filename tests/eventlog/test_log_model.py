"""The promises about seqs and crashes, against a model, with a disk that loses what a disk may lose."""

import errno
from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.eventlog.builders import DIRECTORY, FakeClock, event, make_log, payload_in_log, read_all, verdict
from tests.eventlog.memory_files import Crash, MemoryFiles
from zlay_py.errors import StorageFailedError, StorageFullError
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry
from zlay_py.eventlog.tail import Tail

# A few batches each, so that most runs have several segments.
SEGMENT_BYTES_MAX = 1500
SEGMENT_AGE_S_MAX = 100.0

# A few batches each, so that most runs raise the ceiling.
CEILING_STRIDE = 15

DURABILITIES = st.sampled_from(Durability)
COUNTS = st.integers(1, 6)
SIZES = st.sampled_from([20, 100, 600])
# An operation of a batch, a start or a rotation; beyond the last one the crash comes right after.
OPERATIONS = st.integers(0, 3) | st.integers(0, 25)
# None: the process is killed. A seed: the power goes, and it says what the disk had.
POWER = st.none() | st.integers(0, 2**32)


class WatchedTail(Tail):
    """Tells the model what consumers could have seen, also of a batch whose seqs the writer never heard."""

    def __init__(self, on_publish: Callable[[list[int]], None]) -> None:
        super().__init__()
        self._on_publish = on_publish

    def publish(self, frames: Sequence[tuple[int, bytes]], tip_seq: int) -> None:
        self._on_publish([seq for seq, _ in frames])
        super().publish(frames, tip_seq)


class LogMachine(RuleBasedStateMachine):
    """One log over many processes."""

    def __init__(self) -> None:
        super().__init__()
        self.files = MemoryFiles()
        self.clock = FakeClock()
        # What anybody could have seen, for ever: seq and payload.
        self.seen: dict[int, bytes] = {}
        self.attempted: dict[int, set[bytes]] = defaultdict(set)
        # What must be there after a kill, and after a loss of power.
        self.owed: set[int] = set()
        self.safe: set[int] = set()
        self.removed_below = 0
        self.batch: list[Entry] = []
        self.number = 0
        self.durability = Durability.FSYNC
        self.log: EventLog | None = None

    # ── what the log does is told here ──

    def published(self, seqs: list[int]) -> None:
        for seq, entry in zip(seqs, self.batch, strict=True):
            assert seq not in self.seen, f"seq {seq} is given out twice"
            self.seen[seq] = payload_in_log(entry, seq)
            self.owed.add(seq)
            if self.durability is Durability.FSYNC:
                self.safe.add(seq)

    def check(self, log: EventLog) -> None:
        """Everything owed is there, in order, byte for byte; what else is there was attempted, and is seen now."""
        found: dict[int, bytes] = {}
        last = 0
        for record in read_all(log):
            assert record.seq > last
            last = record.seq
            assert record.payload in self.attempted[record.seq]
            assert self.seen.get(record.seq, record.payload) == record.payload
            assert record.delta.verified
            found[record.seq] = record.payload
        assert last < log.next_seq
        lost = {seq for seq in self.owed if seq not in found and seq >= self.removed_below}
        assert not lost, f"lost {sorted(lost)[:5]} of {len(self.owed)}"
        self.seen |= found
        self.owed = set(found)
        self.removed_below = 0

    # ── starts ──

    @initialize(durability=DURABILITIES)
    def start(self, durability: Durability) -> None:
        self._open(durability, 1)

    @precondition(lambda self: self.log is None)
    @rule(durability=DURABILITIES, initial_seq=st.sampled_from([1, 1, 1, 40, 300_000]))
    def open(self, durability: Durability, initial_seq: int) -> None:
        self._open(durability, initial_seq)

    def _open(self, durability: Durability, initial_seq: int) -> EventLog:
        log = make_log(
            files=self.files,
            clock=self.clock,
            tail=WatchedTail(self.published),
            durability=durability,
            initial_seq=initial_seq,
            segment_bytes_max=SEGMENT_BYTES_MAX,
            segment_age_s_max=SEGMENT_AGE_S_MAX,
            ceiling_stride=CEILING_STRIDE,
        )
        log.open()
        self.log, self.durability = log, durability
        assert log.next_seq >= initial_seq
        assert log.next_seq > max(self.seen, default=0)
        self.check(log)
        self.safe = set(self.owed)
        return log

    @precondition(lambda self: self.log is None)
    @rule(durability=DURABILITIES, operation=OPERATIONS, power=POWER)
    def crash_while_opening(self, durability: Durability, operation: int, power: int | None) -> None:
        self._crash_during(lambda: self._open(durability, 1), operation, power)

    @precondition(lambda self: self.log is None)
    @rule(newest_only=st.booleans())
    def purge(self, newest_only: bool) -> None:
        """Somebody removes segments by hand while nothing runs."""
        segments = sorted((n for n in self.files.names if n[:5] == "evts-" and n[-1] != "x"), key=lambda n: int(n[5:]))
        for name in segments[-1:] if newest_only else segments:
            del self.files.names[name]
        self.files.fsync_dir(DIRECTORY)
        self.owed, self.safe = set(), set()

    # ── writing ──

    @precondition(lambda self: self.log)
    @rule(count=COUNTS, size=SIZES)
    def append(self, count: int, size: int) -> None:
        assert self.log is not None
        self.batch = []
        for _ in range(count):
            self.number += 1
            is_verdict = self.number % 7 == 0
            self.batch.append(verdict(self.number) if is_verdict else event(self.number, size=size))
        self._append_batch(self.log)

    def _append_batch(self, log: EventLog) -> None:
        first = log.next_seq
        for place, entry in enumerate(self.batch):
            self.attempted[first + place].add(payload_in_log(entry, first + place))
        seqs = log.append(self.batch)
        assert seqs == list(range(first, first + len(self.batch)))
        assert set(seqs) <= self.seen.keys()
        assert self.durability is Durability.FLUSH or log.durable_seq == log.current_seq

    @precondition(lambda self: self.log)
    @rule(count=COUNTS, size=SIZES, room=st.integers(0, 2000), same=st.booleans())
    def append_when_full(self, count: int, size: int, room: int, same: bool) -> None:
        """The disk takes `room` more bytes, then none; later the same batch fits, or another."""
        assert self.log is not None
        before, left = set(self.seen), [room]

        def take(operation: str, size: int) -> int | None:
            if operation != "write":
                return None
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "no space left")
            taken = min(left[0], size)
            left[0] -= taken
            return taken

        self.files.before = take
        try:
            self.append(count, size)
        except StorageFullError:
            self.files.be_well()
            assert set(self.seen) == before
            self.check(self.log)
            assert set(self.seen) == before
            if same:
                self._append_batch(self.log)
            else:
                self.append(count, size)
        finally:
            self.files.be_well()

    @precondition(lambda self: self.log)
    @rule(count=COUNTS, size=SIZES, broken=st.sampled_from(["write", "fsync", "fsync_dir", "rename", "create"]))
    def append_when_broken(self, count: int, size: int, broken: str) -> None:
        """The disk fails for good: the log stops, and the process ends."""
        assert self.log is not None

        def fail(operation: str, _: int) -> None:
            if operation == broken:
                raise OSError(errno.EIO, "input/output error")

        self.files.before = fail
        try:
            self.append(count, size)
        except StorageFailedError:
            self.files.be_well()
            with pytest.raises(StorageFailedError, match="has stopped"):
                self.log.append([event(1)])
            self.log.close()
            self.log = None
        finally:
            self.files.be_well()

    @precondition(lambda self: self.log)
    @rule()
    def sync(self) -> None:
        assert self.log is not None
        self.log.sync()
        assert self.log.durable_seq == self.log.current_seq

    @precondition(lambda self: self.log)
    @rule(keep_bytes=st.integers(0, 4000), hold_back=st.integers(0, 12))
    def retain(self, keep_bytes: int, hold_back: int) -> None:
        assert self.log is not None
        hold_seq = self.log.current_seq - hold_back
        self.removed_below = hold_seq + 1
        newest = self.log.segments[-1]
        self.log.retain(0, keep_bytes, hold_seq)
        assert self.log.segments[-1] is newest
        assert self.log.disk_bytes <= keep_bytes or len(self.log.segments) == 1 or hold_back
        self.check(self.log)
        self.safe &= self.owed

    @rule()
    def rest(self) -> None:
        self.clock.pass_s(SEGMENT_AGE_S_MAX / 2)

    # ── ends ──

    @precondition(lambda self: self.log)
    @rule()
    def close(self) -> None:
        assert self.log is not None
        last = self.log.next_seq
        self.log.close()
        assert self.files.open_files == 0
        self.log = None
        self.safe = set(self.owed)
        if last % 2:
            # Sometimes at once, where a start must go on exactly there, whatever the mode.
            assert self._open(Durability.FLUSH, 1).next_seq == last

    @precondition(lambda self: self.log)
    @rule(power=POWER)
    def crash(self, power: int | None) -> None:
        self._end(power)

    @precondition(lambda self: self.log)
    @rule(what=st.sampled_from(["append", "close", "retain", "sync"]), operation=OPERATIONS, power=POWER, count=COUNTS)
    def crash_during(self, what: str, operation: int, power: int | None, count: int) -> None:
        actions: dict[str, Callable[[], None]] = {
            "append": lambda: self.append(count, 100),
            "close": self.close,
            "retain": lambda: self.retain(0, 0),
            "sync": self.sync,
        }
        self._crash_during(actions[what], operation, power)

    def _crash_during(self, action: Callable[[], object], operation: int, power: int | None) -> None:
        left = [operation]

        def count_down(_: str, __: int) -> None:
            if left[0] == 0:
                raise Crash
            left[0] -= 1

        self.files.before = count_down
        try:
            action()
        except Crash:
            pass
        finally:
            self.files.be_well()
        self._end(power)

    def _end(self, power: int | None) -> None:
        if self.log is not None:
            self.safe |= {seq for seq in self.owed if seq <= self.log.durable_seq}
            self.log = None
        if power is None:
            self.files.kill()
        else:
            self.files.lose_power(Random(power))
            self.owed &= self.safe

    def teardown(self) -> None:
        """However it went, the log can be opened."""
        self.files.be_well()
        if self.log is None:
            self._open(Durability.FSYNC, 1)


TestLogModel = LogMachine.TestCase
TestLogModel.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
