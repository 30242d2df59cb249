"""Combined account status: local wins, `active` with a limiting status survives."""

import pytest

from zlay_py.ingest.account_status import Visible, combined, from_event, upstream_active


@pytest.mark.parametrize(
    ("active", "status", "stored"),
    [
        (True, None, "active"),
        (True, "active", "active"),
        (True, "throttled", "active+throttled"),
        (True, "desynchronized", "active+desynchronized"),
        (False, None, "inactive"),
        (False, "active", "inactive"),
        (False, "deleted", "deleted"),
        (False, "x" * 500, "x" * 48),
        (False, "com.example.moderation#quarantäne", "com.example.moderation#quarantäne"),
        (False, "a\0b", "inactive"),
        (True, "a\0b", "active"),
        (True, "\ud800", "active"),
        (False, "active+throttled", "inactive"),
    ],
)
def test_what_an_event_states_is_kept(active: bool, status: str | None, stored: str) -> None:
    assert from_event(active, status) == stored
    assert upstream_active(stored) is active


@pytest.mark.parametrize(
    ("local", "upstream", "visible"),
    [
        ("active", "active", Visible(True, None)),
        ("active", "active+throttled", Visible(True, "throttled")),
        ("active", "inactive", Visible(False, None)),
        ("active", "deactivated", Visible(False, "deactivated")),
        ("takendown", "active", Visible(False, "takendown")),
        ("takendown", "deleted", Visible(False, "takendown")),
    ],
)
def test_the_combined_status(local: str, upstream: str, visible: Visible) -> None:
    assert combined(local, upstream) == visible
