"""Batches of account changes that come again: a reply that was lost, or a start that reads the log once more."""

import pytest

from zlay_py.state.accounts import AccountChange, AccountStore
from zlay_py.state.hosts import HostRow


@pytest.mark.parametrize("again", [[0], [1], [0, 1], [1, 2], [0, 1, 2]])
def test_a_part_of_a_batch_that_comes_again_changes_nothing(
    accounts: AccountStore, host: HostRow, again: list[int]
) -> None:
    uid = accounts.create("did:plc:a", host.id, 1).uid
    changes = [
        AccountChange(uid, seq, upstream_status=status)
        for seq, status in ((5, "deactivated"), (6, "active"), (9, "deleted"))
    ]
    accounts.apply(changes, 9)
    row = accounts.get("did:plc:a")
    assert row is not None
    assert (row.upstream_status, row.applied_seq) == ("deleted", 9)
    accounts.apply([changes[place] for place in again], changes[again[-1]].seq)
    assert accounts.get("did:plc:a") == row
