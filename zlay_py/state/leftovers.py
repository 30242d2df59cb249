"""What a start knew to be judged above a host's mark, kept until the mark has passed it.

A host sends again what lies above its mark. Some of that is in the log already, and must not come out twice; some was
dropped, which the log's later events of the same accounts tell, and must not be judged anew. A start finds it by a
scan of the log's last seconds; but the checkpoint from which the next start scans moves on, while the host may be down
for days. So the finds are saved with the marks, in the same transaction as the checkpoint.
"""

from collections.abc import Iterable, Iterator, Mapping
from heapq import nlargest
from operator import itemgetter
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select

from zlay_py.state import schema
from zlay_py.state.database import Cursor, Database

RUNS_MAX = 10_000
"""Of one host's row: 400 kB at most. A host has 2,000 frames unfinished at most, and nothing above its mark but these
and some seconds of traffic, mostly in unbroken runs. Past it the highest seqs are forgotten and may come out twice."""

JUDGED_MAX = 10_000
"""Accounts of one host's row: 360 kB at most. Past it those with the lowest seqs, which the mark passes first, are
forgotten, and what was dropped of theirs is judged once more."""

_NOTHING: Mapping[int, int] = MappingProxyType({})


class Leftover(NamedTuple):
    """Upstream seqs of one host, in one epoch.

    `runs`: of events in the log, first and last seq of each unbroken run, in order. `judged`: of each account, by the
    hash of its DID, in order, the seq up to which its events were judged.
    """

    host_id: int
    epoch: int
    runs: tuple[tuple[int, int], ...]
    judged: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, host_id: int, epoch: int, seqs: Iterable[int], judged: Mapping[int, int] = _NOTHING) -> "Leftover":
        """From seqs in any order, up to RUNS_MAX runs, and DID hash → seq, up to JUDGED_MAX."""
        runs: list[tuple[int, int]] = []
        for seq in sorted(set(seqs)):
            if runs and runs[-1][1] == seq - 1:
                runs[-1] = (runs[-1][0], seq)
            elif len(runs) == RUNS_MAX:
                break
            else:
                runs.append((seq, seq))
        latest = nlargest(JUDGED_MAX, judged.items(), key=itemgetter(1))
        return cls(host_id, epoch, tuple(runs), tuple(sorted(latest)))

    @property
    def empty(self) -> bool:
        return not self.runs and not self.judged

    def seqs(self) -> Iterator[int]:
        for first, last in self.runs:
            yield from range(first, last + 1)

    def above(self, mark: int) -> "Leftover":
        """What is left of it once everything up to `mark` is done with."""
        return self._replace(
            runs=tuple((max(first, mark + 1), last) for first, last in self.runs if last > mark),
            judged=tuple((hashed, seq) for hashed, seq in self.judged if seq > mark),
        )


class LeftoverTable:
    """The leftovers table: read at start, written by the transaction that saves the marks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        sql, table = database.sql, schema.leftovers
        insert = sql.insert(table).values({name: bindparam(name) for name in Leftover._fields})
        changes = {name: insert.excluded[name] for name in Leftover._fields[1:]}
        self._all = sql.text(select(*(table.c[name] for name in Leftover._fields)).order_by(table.c.host_id))
        self._put = sql.text(
            insert.on_conflict_do_update(index_elements=[table.c.host_id], set_=changes), *Leftover._fields
        )
        self._delete = sql.text(delete(table).where(table.c.host_id == bindparam("of_id")), "of_id")

    def all(self) -> list[Leftover]:
        rows = self._database.rows(self._all)
        return [Leftover(host_id, epoch, _runs_from(runs), _judged_from(text)) for host_id, epoch, runs, text in rows]

    def save_in(self, cursor: Cursor, leftovers: Iterable[Leftover]) -> None:
        """Replaces the rows of these hosts; an empty leftover has no row."""
        for leftover in leftovers:
            if leftover.empty:
                cursor.execute(self._delete, (leftover.host_id,))
            else:
                host_id, epoch, runs, judged = leftover
                cursor.execute(self._put, (host_id, epoch, _text_of(runs), _judged_text(judged)))


def _text_of(runs: Iterable[tuple[int, int]]) -> str:
    """`5-9,11-11`: readable, and a seq of any size fits."""
    return ",".join(f"{first}-{last}" for first, last in runs)


def _runs_from(text: str) -> tuple[tuple[int, int], ...]:
    return tuple((int(first), int(last)) for first, last in _pairs(text))


def _judged_text(judged: Iterable[tuple[int, int]]) -> str:
    """`9f…-11,a0…-5`: the hash in base 16."""
    return ",".join(f"{hashed:x}-{seq}" for hashed, seq in judged)


def _judged_from(text: str) -> tuple[tuple[int, int], ...]:
    return tuple((int(hashed, 16), int(seq)) for hashed, seq in _pairs(text))


def _pairs(text: str) -> Iterator[list[str]]:
    return (pair.split("-") for pair in text.split(",") if pair)
