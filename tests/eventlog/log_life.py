"""One log over many processes on a disk in memory, and what its contract owes after each of them ends.

Every process follows one script that comes by every crash point of the log: it appends batches of all sizes, syncs,
reads, retains, rotates, closes. It ends there by a crash at a named point, by a disk that fails, or well.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from random import Random

from tests.eventlog.builders import FakeClock, event, make_log, payload_in_log, read_all, verdict
from tests.eventlog.memory_files import Crash, MemoryFiles
from tests.support.file_faults import FileFault, faulty
from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import StorageFailedError, StorageFullError
from zlay_py.eventlog.batch import PIECE_RECORDS_MAX
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry
from zlay_py.eventlog.segment import segment_first_seq
from zlay_py.eventlog.tail import Tail

# A few batches each, so that a script has several segments and ceilings.
SEGMENT_BYTES_MAX = 4000
CEILING_STRIDE = 60
BATCH_SIZES = (1, 2, 5, 20, PIECE_RECORDS_MAX + 6) * 3
TRIES_MAX = 6

LOG_POINTS = (
    CrashPoint.START_DECIDED,
    CrashPoint.TAIL_CUT,
    CrashPoint.CEILING_WRITTEN,
    CrashPoint.CEILING_RENAMED,
    CrashPoint.CEILING_RAISED,
    CrashPoint.SEGMENT_SYNCED,
    CrashPoint.SEGMENT_SEALED,
    CrashPoint.SEGMENT_HEADED,
    CrashPoint.SEGMENT_NAMED,
    CrashPoint.SEGMENT_CREATED,
    CrashPoint.PIECE_WRITTEN,
    CrashPoint.BATCH_WRITTEN,
    CrashPoint.BATCH_DURABLE,
    CrashPoint.BATCH_PUBLISHED,
    CrashPoint.LOG_SYNCED,
    CrashPoint.SEGMENT_UNLINKED,
    CrashPoint.SEGMENT_REMOVED,
    CrashPoint.CLOSE_SYNCED,
    CrashPoint.CLOSE_MARKED,
)


class WatchedTail(Tail):
    """Tells what consumers could have seen, also of a batch whose seqs the writer never heard."""

    def __init__(self, on_publish: Callable[[list[int]], None]) -> None:
        super().__init__()
        self._on_publish = on_publish

    def publish(self, frames: Sequence[tuple[int, bytes]], tip_seq: int) -> None:
        self._on_publish([seq for seq, _ in frames])
        super().publish(frames, tip_seq)


class LogLife:
    """`seen`: seq and payload of what anybody could have seen. `owed` must be there after a kill, `safe` after a loss
    of power. `reached`: how often each point was come by."""

    def __init__(self, seed: object) -> None:
        self.random = Random(str(seed))
        self.files, self.clock = MemoryFiles(), FakeClock()
        self.seen: dict[int, bytes] = {}
        self.attempted: dict[int, set[bytes]] = defaultdict(set)
        self.owed: set[int] = set()
        self.safe: set[int] = set()
        self.removed_upto = 0
        self.reached: Counter[CrashPoint] = Counter()
        self.faults_met = 0
        self._number = 0
        self._batch: list[Entry] = []
        self._durability = Durability.FSYNC
        self._log: EventLog | None = None

    # ── processes ──

    def process(self, durability: Durability, on_point: Reached = pass_by) -> None:
        """One process, to its end. Raises Crash. A disk that fails is an end as well, and a full one is waited for."""
        log = self._open(durability, on_point)
        if log is None:
            return
        try:
            for number, count in enumerate(self.random.sample(BATCH_SIZES, len(BATCH_SIZES))):
                if not self._append(log, count):
                    break
                self.clock.pass_s(1)
                if number % 4 == 1:
                    log.sync()
                if number % 5 == 2:
                    read_all(log)
                if number % 6 == 4:
                    self.removed_upto = max(self.removed_upto, log.current_seq - 10)
                    log.retain(0, SEGMENT_BYTES_MAX, self.removed_upto)
            self._note_durable(log)
        except StorageFailedError:
            if self.random.random() < 0.5:  # ends at once
                return
        self._close(log)

    def die_at(
        self, point: CrashPoint, nth: int, durability: Durability, fault: FileFault | None, power: int | None
    ) -> None:
        """A process that ends the nth time it comes by `point`; with a fault, it goes on there as well as it can, and
        ends later."""
        left = [nth]

        def on_point(at: CrashPoint) -> None:
            if at is point:
                left[0] -= 1
                if left[0] == 0:
                    if fault is None:
                        self.files.die()
                    else:
                        self._break(fault)

        self._live(lambda: self.process(durability, on_point), power)
        assert left[0] <= 0, f"never came by {point}"

    def die_while_writing(self, durability: Durability, power: int | None) -> None:
        """A process that ends inside one of its operations on files: torn records, unfinished segments."""
        left = [self.random.randint(10, 60)]

        def before(_operation: str, _size: int) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Crash

        self.files.before = before
        self._live(lambda: self.process(durability), power)

    def tear(self) -> None:
        """The last process was killed inside a write: the newest segment ends in a part of a record."""
        self.process(Durability.FSYNC)
        newest = max((name for name in self.files.names if segment_first_seq(name)), key=lambda name: int(name[5:]))
        inode = self.files.names[newest]
        inode.write(self.random.randbytes(self.random.randint(1, 300)), len(inode.current))
        self._log = None
        self.files.kill()

    def start_on_a_broken_disk(self, durability: Durability, fault: FileFault, good: int, power: int | None) -> None:
        """`good`: so many operations still go through."""
        self._break(fault, good)
        self._live(lambda: self.process(durability), power)

    def end_well(self, durability: Durability) -> None:
        """The next start: everything owed is there; it takes events, closes, and goes on exactly there."""
        log = self._open(durability, self._count)
        assert log is not None
        assert self._append(log, 3)
        log.close()
        next_seq = log.next_seq
        self._log = None
        again = self._open(durability, self._count)
        assert again is not None
        assert again.next_seq == next_seq
        again.close()
        self._log = None
        assert self.files.open_files == 0

    # ── the parts of a process ──

    def _live(self, process: Callable[[], None], power: int | None) -> None:
        try:
            process()
        except Crash:
            pass
        finally:
            self.files.be_well()
        if self._log is not None:
            self._note_durable(self._log)
            self._log = None
        if power is None:
            self.files.kill()
        else:
            self.files.lose_power(Random(power))
            self.owed &= self.safe

    def _break(self, fault: FileFault, good: int | None = None) -> None:
        disk = faulty(fault, self.random, good)

        def before(operation: str, size: int) -> int | None:
            try:
                taken = disk(operation, size)
            except OSError:
                self.faults_met += 1
                raise
            self.faults_met += taken is not None and taken < size
            return taken

        self.files.before = self.files.before_reading = before

    def _count(self, point: CrashPoint) -> None:
        self.reached[point] += 1

    def _open(self, durability: Durability, on_point: Reached) -> EventLog | None:
        """None: the disk failed, or stayed full, and the process ended."""

        def reached(point: CrashPoint) -> None:
            self._count(point)
            on_point(point)

        log = make_log(
            files=self.files,
            clock=self.clock,
            tail=WatchedTail(self._published),
            durability=durability,
            segment_bytes_max=SEGMENT_BYTES_MAX,
            ceiling_stride=CEILING_STRIDE,
            reached=reached,
        )
        try:
            log.open()
        except (StorageFullError, StorageFailedError):
            return None
        self._log, self._durability = log, durability
        assert log.next_seq > max(self.seen, default=0), "a seq that was seen is given out again"
        try:
            self._check(log)
        except StorageFailedError:  # the disk can't be read
            return None
        return log

    def _check(self, log: EventLog) -> None:
        """Everything owed is there, in order, byte for byte; what else is there was attempted, and is seen now."""
        found: dict[int, bytes] = {}
        last = 0
        for record in read_all(log):
            assert record.seq > last, f"seq {record.seq} after {last}"
            last = record.seq
            assert record.payload in self.attempted[record.seq], f"seq {record.seq} was never this"
            assert self.seen.get(record.seq, record.payload) == record.payload, f"seq {record.seq} was another event"
            found[record.seq] = record.payload
        assert last < log.next_seq
        assert log.durable_seq == log.current_seq, "a start serves what it has not made durable"
        lost = sorted(seq for seq in self.owed if seq not in found and seq > self.removed_upto)
        assert not lost, f"lost {lost[:5]} of {len(self.owed)}"
        self.seen |= found
        self.owed = set(found)
        self.safe = set(found)

    def _append(self, log: EventLog, count: int) -> bool:
        """False: the disk stayed full. The same batch is tried again, as the log writer does."""
        self._batch = []
        for _ in range(count):
            self._number += 1
            is_verdict = self._number % 7 == 0
            size = self.random.choice((20, 100, 300))
            self._batch.append(verdict(self._number) if is_verdict else event(self._number, size=size))
        for _ in range(TRIES_MAX):
            first = log.next_seq
            for place, entry in enumerate(self._batch):
                self.attempted[first + place].add(payload_in_log(entry, first + place))
            seen = set(self.seen)
            try:
                seqs = log.append(self._batch)
            except StorageFullError:
                assert set(self.seen) == seen, "a batch that was refused was seen"
                continue
            assert seqs == list(range(first, first + count))
            assert set(seqs) <= self.seen.keys()
            return True
        return False

    def _close(self, log: EventLog) -> None:
        try:
            log.close()
        except (StorageFullError, StorageFailedError):
            return
        self._note_durable(log)

    def _published(self, seqs: list[int]) -> None:
        for seq, entry in zip(seqs, self._batch, strict=True):
            assert seq not in self.seen, f"seq {seq} is given out twice"
            self.seen[seq] = payload_in_log(entry, seq)
            self.owed.add(seq)
            if self._durability is Durability.FSYNC:
                self.safe.add(seq)

    def _note_durable(self, log: EventLog) -> None:
        self.safe |= {seq for seq in self.owed if seq <= log.durable_seq}
