"""The `#identity` events that the last process may have died of before anything came of them.

Such an event marks what is known of its DID as stale, and asks for it anew. Mark and answer are saved in the
background, before the checkpoint passes the event's record (`workers.cursor_saver`). So a start marks once more what
the log says above the checkpoint: otherwise a key that was rotated would stay in force for a day.
"""

from collections.abc import Callable, Mapping, Sequence

from zlay_py.atproto import dag_cbor
from zlay_py.eventlog.record import Record
from zlay_py.ingest.replay import DidsOf
from zlay_py.state.identities import IdentityRowStore


class ToldIdentities:
    """`ask` is called with each DID and the name of the host that told of it: it is to be looked up soon.

    To be used before anything is read from the rows. `host_names`: by id.
    """

    def __init__(
        self,
        rows: IdentityRowStore,
        dids_of: DidsOf,
        host_names: Mapping[int, str],
        ask: Callable[[str, str], object],
    ) -> None:
        self._rows = rows
        self._dids_of = dids_of
        self._host_names = host_names
        self._ask = ask

    def take(self, records: Sequence[Record]) -> None:
        """Marks rows that were not asked for later than these `#identity` records came. Raises what `Database` does."""
        dids = self._dids_of({record.uid for record in records if record.uid})
        told: dict[str, int] = {}
        for record in records:
            did = dids.get(record.uid) or _did_in(record)
            if did is None:
                continue
            told[did] = max(record.time_us, told.get(did, 0))
            if record.host_id in self._host_names:
                self._ask(did, self._host_names[record.host_id])
        self._rows.mark_stale(told.items())


def _did_in(record: Record) -> str | None:
    """Of an account without a row. None where the payload is gone."""
    if record.taken_down:
        return None
    body = dag_cbor.decode(record.payload)
    assert isinstance(body, dict), "only events get into the log"
    return str(body["did"])
