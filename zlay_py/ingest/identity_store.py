"""Identities in SQL: what `identity` knows as a key and a state, `state` keeps as plain columns."""

from collections.abc import Sequence

from zlay_py.atproto.keys import PublicKey
from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import CorruptionError, KeyFormatError
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.state.identities import IdentityRow, IdentityRowStore


class SqlIdentityStore:
    """An `identity.store.IdentityStore`. Both methods raise what `state.database.Database` does."""

    def __init__(self, rows: IdentityRowStore, reached: Reached = pass_by) -> None:
        self._rows = rows
        self._reached = reached

    def load(self, did: str) -> Identity | None:
        """Raises CorruptionError for a row that we can't have written."""
        row = self._rows.load(did)
        return None if row is None else _identity(row)

    def save(self, identities: Sequence[Identity]) -> None:
        self._reached(CrashPoint.IDENTITIES_TAKEN)
        self._rows.save(map(_row, identities))
        self._reached(CrashPoint.IDENTITIES_SAVED)


def _row(identity: Identity) -> IdentityRow:
    key = None if identity.key is None else identity.key.to_bytes()
    return IdentityRow(
        identity.did,
        identity.state.value,
        key,
        identity.pds_host,
        identity.handle,
        identity.resolved_us,
        identity.stale,
    )


def _identity(row: IdentityRow) -> Identity:
    try:
        state = IdentityState(row.state)
        key = None if row.signing_key is None else PublicKey.from_bytes(row.signing_key)
    except (ValueError, KeyFormatError) as error:
        raise CorruptionError(
            f"table identities, {row.did}: {error}. Delete the row: it is looked up again."
        ) from error
    return Identity(row.did, state, key, row.pds_host, row.handle, row.resolved_us, row.stale)
