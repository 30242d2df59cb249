"""What a start knew to be in the log above a host's mark, kept until the mark has passed it.

A host sends again what lies above its mark. Some of that is in the log already, and must not come out twice. A start
finds it by a scan of the log's last seconds; but the checkpoint from which the next start scans moves on, while the
host may be down for days. So the finds are saved with the marks, in the same transaction as the checkpoint.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select

from zlay_py.state import schema
from zlay_py.state.database import Cursor, Database

RUNS_MAX = 10_000
"""Of one host's row: 400 kB at most. A host has 2,000 frames unfinished at most, and nothing above its mark but these
and some seconds of traffic, mostly in unbroken runs. Past it the highest seqs are forgotten and may come out twice."""


class Leftover(NamedTuple):
    """Upstream seqs of one host, in one epoch. `runs`: first and last seq of each unbroken run, in order."""

    host_id: int
    epoch: int
    runs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, host_id: int, epoch: int, seqs: Iterable[int]) -> "Leftover":
        """From seqs in any order, up to RUNS_MAX runs."""
        runs: list[tuple[int, int]] = []
        for seq in sorted(set(seqs)):
            if runs and runs[-1][1] == seq - 1:
                runs[-1] = (runs[-1][0], seq)
            elif len(runs) == RUNS_MAX:
                break
            else:
                runs.append((seq, seq))
        return cls(host_id, epoch, tuple(runs))

    def seqs(self) -> Iterator[int]:
        for first, last in self.runs:
            yield from range(first, last + 1)

    def above(self, mark: int) -> "Leftover":
        """What is left of it once everything up to `mark` is done with."""
        return self._replace(runs=tuple((max(first, mark + 1), last) for first, last in self.runs if last > mark))


class LeftoverTable:
    """The leftovers table: read at start, written by the transaction that saves the marks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        sql, table = database.sql, schema.leftovers
        insert = sql.insert(table).values({name: bindparam(name) for name in ("host_id", "epoch", "runs")})
        self._all = sql.text(select(table.c.host_id, table.c.epoch, table.c.runs).order_by(table.c.host_id))
        self._put = sql.text(
            insert.on_conflict_do_update(
                index_elements=[table.c.host_id], set_={"epoch": insert.excluded.epoch, "runs": insert.excluded.runs}
            ),
            *("host_id", "epoch", "runs"),
        )
        self._delete = sql.text(delete(table).where(table.c.host_id == bindparam("of_id")), "of_id")

    def all(self) -> list[Leftover]:
        rows = self._database.rows(self._all)
        return [Leftover(host_id, epoch, _runs_from(text)) for host_id, epoch, text in rows]

    def save_in(self, cursor: Cursor, leftovers: Iterable[Leftover]) -> None:
        """Replaces the rows of these hosts; a leftover without runs has no row."""
        for leftover in leftovers:
            if leftover.runs:
                cursor.execute(self._put, (leftover.host_id, leftover.epoch, _text_of(leftover.runs)))
            else:
                cursor.execute(self._delete, (leftover.host_id,))


def _text_of(runs: Iterable[tuple[int, int]]) -> str:
    """`5-9,11-11`: readable, and a seq of any size fits."""
    return ",".join(f"{first}-{last}" for first, last in runs)


def _runs_from(text: str) -> tuple[tuple[int, int], ...]:
    return tuple((int(first), int(last)) for first, last in (run.split("-") for run in text.split(",")))
