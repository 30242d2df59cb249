"""What is on the disk: the slot's lock, SQL, the event log. Owns: opening them, and that both tell one story."""

import shutil
from dataclasses import asdict

import gevent

from zlay_py.clock import Clock
from zlay_py.crashpoints import CrashPoint
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.lock import OwnerLock
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.recovery import Recovery
from zlay_py.eventlog.segment import segment_first_seq
from zlay_py.eventlog.tail import Tail
from zlay_py.logs import get_logger
from zlay_py.runtime.ending import Ending
from zlay_py.runtime.seams import Seams
from zlay_py.settings import Settings
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostStore
from zlay_py.state.meta import MetaStore

log = get_logger(__name__)

SEQS_UNRECORDED_MAX = 2**20
"""How far the log can have been ahead of what the database recorded of it: some five times the projector's backlog."""

SLOT_POLL_S = 0.1
"""While the worker before us finishes: how often we look whether it has."""

SLOT_LOCK = "slot-0.lock"

DISK_SHARE = 0.8
"""Of the free space, for the event log, where no budget is set."""

_DISK_BUDGET_KEY = "disk_budget_bytes"


class Storage:
    """Everything open. Whatever of it was opened is closed by `ending`.

    Making one raises LocalError: a setting, a lock, or a file of ours is in the way.
    """

    def __init__(self, settings: Settings, seams: Seams, clock: Clock, ending: Ending) -> None:
        self._settings = settings
        self._seams = seams
        self._clock = clock
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        slot = OwnerLock(settings.data_dir, SLOT_LOCK)
        ending.add("slot lock", slot.release)
        slot.acquire(_wait_for_slot)
        self.database = Database(settings.database_url)
        ending.add("database", self.database.close, CrashPoint.STOP_CLOSED)
        self.database.migrate()
        self.hosts = HostStore(self.database)
        self.accounts = AccountStore(self.database)
        self.meta = MetaStore(self.database)
        seams.reached(CrashPoint.DATABASE_OPEN)
        self.tail = Tail(frames_max=settings.history_frames, bytes_max=settings.history_mb * 1024 * 1024)
        self.event_log, recovery = self._open_log()
        ending.add("event log", self.event_log.close)
        log.info("event log open", **asdict(recovery))

    def disk_budget_bytes(self) -> int:
        """The setting; without one, 80 % of what was free at the first start, remembered so that it does not shrink."""
        if self._seams.disk_budget_bytes is not None:
            return self._seams.disk_budget_bytes
        if self._settings.disk_budget_gb is not None:
            return int(self._settings.disk_budget_gb * 1e9)
        remembered = self.meta.get(_DISK_BUDGET_KEY)
        if remembered is None:
            remembered = str(int(shutil.disk_usage(self._settings.data_dir).free * DISK_SHARE))
            self.meta.put(_DISK_BUDGET_KEY, remembered)
        return int(remembered)

    def _open_log(self) -> tuple[EventLog, Recovery]:
        """A log that is behind the database (its folder was emptied, or is an old copy) must not give out again the
        seqs that the database knows of, nor those that the database had not heard of yet."""
        known_seq = max(self.meta.applied_seq(), self.meta.cursor_checkpoint())
        beyond = known_seq + 1 + SEQS_UNRECORDED_MAX
        names = [path.name for path in self._settings.data_dir.iterdir()]
        emptied = known_seq and all(segment_first_seq(name) is None for name in names)
        event_log = self._make_log(max(self._settings.initial_seq, beyond if emptied else 1))
        recovery = event_log.open()
        if recovery.next_seq <= known_seq:
            event_log.close()
            event_log = self._make_log(beyond)
            recovery = event_log.open()
        elif not emptied:
            return event_log, recovery
        log.warning(
            "the event log is behind its database: events are missing, and seqs go on where none was given out before",
            known_seq=known_seq,
            next_seq=recovery.next_seq,
        )
        return event_log, recovery

    def _make_log(self, initial_seq: int) -> EventLog:
        return EventLog(
            self._settings.data_dir,
            durability=Durability(self._settings.durability),
            clock=self._clock,
            initial_seq=initial_seq,
            tail=self.tail,
            files=self._seams.files,
            reached=self._seams.reached,
            segment_bytes_max=self._seams.segment_bytes_max,
            ceiling_stride=self._seams.ceiling_stride,
        )


def _wait_for_slot(holder: int | None) -> bool:
    """The worker before us still writes: it was told to stop, and its end is our beginning."""
    log.debug("waiting for the worker before us", holder=holder)
    gevent.sleep(SLOT_POLL_S)
    return True
