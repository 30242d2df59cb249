"""The event log: appends batches, reads them back, and keeps the promises about seqs and crashes.

    append: ceiling ─▶ write ─▶ fsync (off the hub) ─▶ readers may see it ─▶ tail ─▶ seqs returned

Owns: that order, the segments, the seqs. Refuses to own: any loop. One writer appends; readers, retention and
consumers come from other greenlets of the same thread, and meet the writer only where it waits for the disk.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from gevent import get_hub

from zlay_py.clock import Clock
from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import ConfigError, StorageFailedError, StorageFullError
from zlay_py.eventlog import index as index_file
from zlay_py.eventlog.batch import EntryInvalidError, Written, write_batch
from zlay_py.eventlog.ceiling import CEILING_STRIDE, Ceiling, CeilingFile, Durability, Found, Start, decide_start
from zlay_py.eventlog.files import FileLayer, OsFiles, storage_error, sync_file
from zlay_py.eventlog.reader import SegmentReader
from zlay_py.eventlog.record import SEQ_MAX, Entry, Record
from zlay_py.eventlog.recovery import Recovery, Scan, cut, find_segments, open_newest, scan_newest, write_again
from zlay_py.eventlog.retention import droppable, remove_segment
from zlay_py.eventlog.segment import Sealed, Segment, SegmentHeader, create
from zlay_py.eventlog.tail import Tail, TailChunk
from zlay_py.eventlog.wire import frame_bytes

# A start reads one segment in full (0.2 s where events have 5 kB, 1 s where they have 1 kB), and retention removes this
# much at a time.
SEGMENT_BYTES_MAX = 256 * 1024 * 1024
# On a quiet relay: events are removed at most this much later than the retention window says.
SEGMENT_AGE_S_MAX = 3600.0

T = TypeVar("T")


class Offload(Protocol):
    """Runs work that waits for the disk where it does not stop the hub, and gives back its result or exception."""

    def __call__(self, work: Callable[[], T], /) -> T: ...


def in_threadpool(work: Callable[[], T]) -> T:
    """In gevent's thread pool; the calling greenlet waits."""
    result: T = get_hub().threadpool.apply(work)
    return result


def random_salt() -> int:
    return secrets.randbits(32)


_OS_FILES = OsFiles()


class EventLog:
    """`open` first, `close` last. `directory` must be owned by this process (`lock.OwnerLock`).

    `initial_seq` is a floor for the next seq. Everything after `segment_age_s_max` is a seam for tests.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durability: Durability,
        clock: Clock,
        tail: Tail,
        initial_seq: int = 1,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        segment_age_s_max: float = SEGMENT_AGE_S_MAX,
        ceiling_stride: int = CEILING_STRIDE,
        files: FileLayer = _OS_FILES,
        offload: Offload = in_threadpool,
        salt: Callable[[], int] = random_salt,
        reached: Reached = pass_by,
    ) -> None:
        if not 1 <= initial_seq <= SEQ_MAX - CEILING_STRIDE:
            raise ConfigError(f"RELAY_INITIAL_SEQ must be from 1 to {SEQ_MAX - CEILING_STRIDE}, not {initial_seq}")
        self._directory = directory
        self._durability = Durability(durability)
        self._clock = clock
        self._tail = tail
        self._initial_seq = initial_seq
        self._segment_bytes_max = segment_bytes_max
        self._segment_age_s_max = segment_age_s_max
        self._ceiling_stride = ceiling_stride
        self._files = files
        self._offload = offload
        self._salt = salt
        self._reached = reached
        self._ceiling_file = CeilingFile(files, directory, reached)
        self._reader = SegmentReader(files)
        # Oldest first; the last one is written to. Rotation adds at the end, retention takes from the front.
        self._segments: list[Segment] = []
        self._fd = -1
        self._synced_bytes = 0
        self._segment_since_s = 0.0
        self._next_seq = self._floor = initial_seq
        self._durable_seq = initial_seq - 1
        self._ceiling = 0
        self._ceiling_segment = 0
        self._writing = self._retaining = False
        self._failure: str | None = None

    @property
    def next_seq(self) -> int:
        """What the next record gets."""
        return self._next_seq

    @property
    def current_seq(self) -> int:
        """The last seq that is given out or skipped: every record that a reader may see is at or below it."""
        return self._next_seq - 1

    @property
    def durable_seq(self) -> int:
        """Everything up to here survives a loss of power. In flush mode it moves with `sync` and each new segment."""
        return self._durable_seq

    @property
    def oldest_seq(self) -> int:
        """No record below it is here any more; reading from here on never misses one."""
        return self._segments[0].first_seq if self._segments else self._next_seq

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Oldest first. To look at, not to change."""
        return tuple(self._segments)

    @property
    def disk_bytes(self) -> int:
        return sum(segment.end for segment in self._segments)

    @property
    def failure(self) -> str | None:
        """Why the log takes nothing more, or None: for health checks."""
        return self._failure

    # ── start and stop ────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> Recovery:
        """Finds or makes the log, cuts a torn tail, and decides where seqs go on. Reads the newest segment in full.

        Raises CorruptionError (a start would lose or repeat something: the message says what to do),
        StorageFullError or StorageFailedError.
        """
        assert self._fd < 0, "already open"
        try:
            self._files.make_dir(self._directory)
        except OSError as error:
            raise storage_error(error, f"creating {self._directory}") from error
        loaded = self._ceiling_file.load()
        segments = find_segments(self._files, self._directory, loaded.state)
        scan, found = Scan(0, 0), Found(0, 0, 0)
        if segments:
            scan = scan_newest(self._files, segments[-1], loaded.state)
            found = Found(segments[-1].first_seq, segments[-1].last_seq, scan.bytes_cut)
        start = decide_start(loaded, found, self._initial_seq)
        self._next_seq = self._floor = start.next_seq
        old_ceiling = loaded.state.ceiling if loaded.state else 0
        ceiling = max(old_ceiling, start.next_seq - 1 + self._ceiling_stride)
        self._segments = segments
        try:
            if segments:
                self._start_from(segments[-1], ceiling, scan)
            else:
                self._start_empty(ceiling, start, fresh=not loaded.exists)
        except BaseException:
            self._close_files()
            raise
        self._durable_seq = self.current_seq
        self._segment_since_s = self._clock.monotonic_s() - self._age_s(self._segments[-1])
        self._tail.start(self._next_seq)
        return Recovery(start.next_seq, scan.bytes_cut, start.clean, start.jumped, self.oldest_seq, len(self._segments))

    def _start_from(self, newest: Segment, ceiling: int, scan: Scan) -> None:
        # What a killed process wrote and did not sync is about to be served, so it must be as durable as the rest.
        self._fd = open_newest(self._files, newest.path)
        write_again(self._files, self._fd, newest, scan.durable_bytes)
        self._synced_bytes = newest.end
        # Before the cut: a start that dies after it finds nothing to cut, and must not go back to a lower seq.
        self._store_ceiling(ceiling)
        self._reached(CrashPoint.START_DECIDED)
        if scan.bytes_cut:
            cut(self._files, self._fd, newest.end, newest.path)
            self._reached(CrashPoint.TAIL_CUT)

    def _start_empty(self, ceiling: int, start: Start, *, fresh: bool) -> None:
        self._store_ceiling(ceiling)
        self._reached(CrashPoint.START_DECIDED)
        before = Sealed(0, 0 if fresh else start.next_seq - 1, 0, 0)
        segment, self._fd = create(self._files, self._directory, self._new_header(before), self._reached)
        self._segments.append(segment)
        self._synced_bytes = segment.end
        self._reached(CrashPoint.SEGMENT_CREATED)
        self._store_ceiling(ceiling)

    def close(self) -> None:
        """Makes everything durable and leaves the clean mark; after a failure, only closes the files.

        Raises StorageFullError or StorageFailedError, and the next start is an unclean one.
        """
        assert not self._writing, "closed while a batch is being written"
        try:
            if self._fd >= 0 and self._failure is None:
                sync_file(self._files, self._fd, "closing the log")
                self._synced_bytes, self._durable_seq = self._segments[-1].end, self.current_seq
                self._reached(CrashPoint.CLOSE_SYNCED)
                self._floor = self._next_seq
                self._store_ceiling(self._ceiling, clean=True)
                self._reached(CrashPoint.CLOSE_MARKED)
        finally:
            self._close_files()

    def _close_files(self) -> None:
        self._reader.close()
        if self._fd >= 0:
            self._files.close(self._fd)
            self._fd = -1

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────

    def append(self, entries: Sequence[Entry]) -> list[int]:
        """Writes one batch and returns its seqs, in order; when it returns, the batch is as durable as the mode says,
        and in the tail. One call at a time.

        Raises StorageFullError or EntryInvalidError: nothing of the batch is in the log, nobody has seen any of its
        seqs, and the same or another batch may be appended. Raises StorageFailedError: the log is stopped.
        """
        if not entries:
            return []
        with self._writer():
            self._prepare(len(entries))
            written = self._write(entries)
            self._reached(CrashPoint.BATCH_WRITTEN)
            if self._durability is Durability.FSYNC:
                self._offload(partial(sync_file, self._files, self._fd, f"appending to {self._segments[-1].path}"))
                self._synced_bytes = written.end
            self._reached(CrashPoint.BATCH_DURABLE)
            self._publish(written)
            self._reached(CrashPoint.BATCH_PUBLISHED)
            return list(range(written.last_seq + 1 - len(entries), written.last_seq + 1))

    def sync(self) -> None:
        """Makes durable what flush mode has not: the log writer calls it about once a second. Raises
        StorageFailedError: the log is stopped."""
        if self._durable_seq == self.current_seq:
            return
        with self._writer():
            self._offload(partial(sync_file, self._files, self._fd, f"syncing {self._segments[-1].path}"))
            self._synced_bytes, self._durable_seq = self._segments[-1].end, self.current_seq
            self._reached(CrashPoint.LOG_SYNCED)

    @contextmanager
    def _writer(self) -> Iterator[None]:
        """One writer at a time. Anything that leaves the file unknown, a killed greenlet included, stops the log."""
        assert self._fd >= 0, "not open"
        assert not self._writing, "two writers"
        if self._failure is not None:
            raise StorageFailedError(f"the log has stopped: {self._failure}")
        self._writing = True
        try:
            yield
        except (StorageFullError, EntryInvalidError):
            raise
        except BaseException as error:
            self._failure = str(error) or f"interrupted by {type(error).__name__}"
            raise
        finally:
            self._writing = False

    def _prepare(self, count: int) -> None:
        """A segment with room, and a ceiling that covers the batch."""
        last_seq = self.current_seq + count
        if last_seq > SEQ_MAX:
            raise StorageFailedError(f"seqs end at {SEQ_MAX}")
        active, now_s = self._segments[-1], self._clock.monotonic_s()
        if active.empty:
            self._segment_since_s = now_s
        elif active.end >= self._segment_bytes_max or now_s - self._segment_since_s >= self._segment_age_s_max:
            self._rotate(active)
        if last_seq > self._ceiling or self._ceiling_segment != self._segments[-1].first_seq:
            ceiling = last_seq + self._ceiling_stride if last_seq > self._ceiling else self._ceiling
            self._offload(partial(self._store_ceiling, ceiling))
            self._reached(CrashPoint.CEILING_RAISED)

    def _rotate(self, active: Segment) -> None:
        self._offload(partial(self._seal, active))
        self._synced_bytes, self._durable_seq = active.end, self.current_seq
        self._reached(CrashPoint.SEGMENT_SEALED)
        header = self._new_header(active.sealed())
        segment, fd = self._offload(partial(create, self._files, self._directory, header, self._reached))
        self._files.close(self._fd)
        active.index = None
        self._segments.append(segment)
        self._fd, self._synced_bytes = fd, segment.end
        self._segment_since_s = self._clock.monotonic_s()
        self._reached(CrashPoint.SEGMENT_CREATED)

    def _seal(self, segment: Segment) -> None:
        sync_file(self._files, self._fd, f"sealing {segment.path}")
        self._reached(CrashPoint.SEGMENT_SYNCED)
        assert segment.index is not None
        index_file.store(self._files, segment.path, segment.index, salt=segment.header.salt, segment_bytes=segment.end)

    def _write(self, entries: Sequence[Entry]) -> Written:
        active = self._segments[-1]
        try:
            return write_batch(
                self._files, self._fd, active, entries, self._next_seq, self._synced_bytes, self._reached
            )
        except (StorageFullError, EntryInvalidError):
            self._offload(partial(cut, self._files, self._fd, active.end, active.path))
            raise

    def _publish(self, written: Written) -> None:
        active = self._segments[-1]
        assert active.index is not None
        for seq, offset in written.places:
            active.index.add(seq, offset)
        active.end, active.last_seq, active.last_time_us = written.end, written.last_seq, written.last_time_us
        self._next_seq = written.last_seq + 1
        if self._durability is Durability.FSYNC:
            self._durable_seq = written.last_seq
        self._tail.publish(written.frames, written.last_seq)

    def _store_ceiling(self, ceiling: int, *, clean: bool = False) -> None:
        segment = self._segments[-1].first_seq if self._segments else 0
        state = Ceiling(self._floor, ceiling, self._durability, segment, self._synced_bytes, clean)
        self._ceiling_file.store(state)
        self._ceiling, self._ceiling_segment = ceiling, segment

    def _new_header(self, previous: Sealed) -> SegmentHeader:
        return SegmentHeader(self._salt(), self._next_seq, self._clock.now_us(), previous)

    def _age_s(self, segment: Segment) -> float:
        return max(0, self._clock.now_us() - segment.header.created_us) / 1_000_000

    # ── reading and retention ─────────────────────────────────────────────────────────────────────────────────

    def read(self, from_seq: int, *, bytes_max: int) -> list[Record]:
        """Records with a seq of at least `from_seq` from the segments, in order, skipping none (verdicts and records
        that are taken down are among them): up to `bytes_max` bytes, or one record. Empty: there are none yet.

        Raises RecordsGoneError where some of them were removed (start again at `oldest_seq`), CorruptionError,
        StorageFailedError. Does not give up the hub.
        """
        return self._reader.read(self._segments, from_seq, bytes_max)

    def read_chunk(self, from_seq: int, *, bytes_max: int) -> TailChunk:
        """As `read`, as the ready frames of those records that are sent: what the tail would give."""
        records = self.read(from_seq, bytes_max=bytes_max)
        if not records:
            return TailChunk(from_seq, from_seq, b"", 0)
        frames = [frame for record in records if (frame := frame_bytes(record))]
        return TailChunk(records[0].seq, records[-1].seq + 1, b"".join(frames), len(frames))

    def retain(self, oldest_time_us: int, bytes_max: int, hold_seq: int) -> list[Path]:
        """Removes whole segments whose last event is older than `oldest_time_us`, and the oldest while the log takes
        more than `bytes_max`; never the newest, none with a record above `hold_seq`. Returns what was removed.

        Raises StorageFailedError; a file that could not be removed is found again at the next start.
        """
        assert not self._retaining, "two retentions"
        self._retaining = True
        try:
            count = droppable(self._segments, oldest_time_us=oldest_time_us, bytes_max=bytes_max, hold_seq=hold_seq)
            removed = []
            for _ in range(count):
                segment = self._segments.pop(0)
                self._reader.forget(segment)
                self._offload(partial(remove_segment, self._files, segment.path, self._reached))
                removed.append(segment.path)
            return removed
        finally:
            self._retaining = False
