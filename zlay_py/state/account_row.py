"""One row of the accounts table, as every reader gets it."""

from typing import NamedTuple


class AccountRow(NamedTuple):
    """Fields are named and ordered as the columns; CIDs are 36 raw bytes, times microseconds since 1970."""

    uid: int
    did: str
    host_id: int
    upstream_status: str
    local_status: str
    rev: str | None
    commit_cid: bytes | None
    data_cid: bytes | None
    applied_seq: int
    created_us: int
