"""The judge sees each byte that came out other than it went in, and knows which ones are a relay's own."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.sim_stories import DID, PerfectRelay, retell
from tests.support.sim_verdicts import judge, only, told
from tools.simulator.model import Emission, Intent
from tools.simulator.oracle.judge import Findings, Policy


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("#commit", lambda payload: payload.update(blocks=b"c" * 9)),
        ("#commit", lambda payload: payload.update(time="2026-02-02T00:00:00.000Z")),
        ("#commit", lambda payload: payload.update(more=1)),
        ("#commit", lambda payload: payload.pop("blobs")),
        ("#commit", lambda payload: payload.pop("prevData")),
        ("#commit", lambda payload: payload.update(tooBig=True)),
        ("#sync", lambda payload: payload.update(blocks=b"")),
        ("#identity", lambda payload: payload.update(handle="other.test")),
        ("#account", lambda payload: payload.update(active=not payload["active"])),
        ("#account", lambda payload: payload.update(status="suspended")),
    ],
)
def test_changed_payloads(kind: str, change: Callable[[dict[str, Any]], None]) -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    place = max(place for place, one in enumerate(reading) if one.kind == kind)
    reading[place] = retell(reading[place], change)
    found = judge(story, reading)
    assert only(found) == "changed", found.summary()
    assert kind in found.wrong[0]


def test_which_field_was_changed_is_said() -> None:
    story = told()
    reading = PerfectRelay().take(story.emissions)
    reading[6] = retell(reading[6], lambda payload: payload.update(blocks=b"", extra=1))
    found = judge(story, reading)
    assert "with other blocks, +extra" in found.wrong[0]


def test_unknown_fields_survive_and_missing_ones_are_filled_in() -> None:
    story = told()
    story.commit(DID, intent=Intent.UNKNOWN_FIELDS, future={"a": [1]})
    story.commit(DID, intent=Intent.BARE, blobs=..., rebase=...)
    reading = PerfectRelay().take(story.emissions)
    assert judge(story, reading).ok
    reading[-2] = retell(reading[-2], lambda payload: payload.pop("future"))
    found = judge(story, reading)
    assert found.totals == {"changed": 1}
    assert "-future" in found.wrong[0]
    reading = PerfectRelay().take(story.emissions)
    reading[-1] = retell(reading[-1], lambda payload: payload.pop("rebase"))
    found = judge(story, reading)
    assert found.totals == {"changed": 1}
    assert "not filled in: rebase" in found.wrong[0]


def test_other_bytes_for_the_same_payload() -> None:
    """Keys in another order, a header with more in it, a number in more bytes: equal when decoded, and changed."""
    story = told()
    for before, after in (
        (b"\x63seq\x05", b"\x63seq\x18\x05"),
        (b"op\x01\xab", b"op\x01\xb8\x0b"),
        (b"\xa2\x61t", b"\xa3\x61a\x00\x61t"),
        (b"\x68prevData", b"\x68prevDatb"),
    ):
        reading = PerfectRelay().take(story.emissions)
        place = {b"\x63seq\x05": 4, b"\xa2\x61t": -2}.get(before, 2)
        assert before in reading[place].wire
        reading[place] = reading[place]._replace(wire=reading[place].wire.replace(before, after))
        assert only(judge(story, reading)) == "changed"


def test_handles_may_stay_but_not_a_strangers() -> None:
    story = told()
    own = story.identity(DID)
    forged = story.identity(DID, 1, intent=Intent.FORGED_IDENTITY)

    def keep(emission: Emission) -> Findings:
        reading = PerfectRelay().take(story.emissions)
        place = -2 if emission is own else -1
        reading[place] = retell(reading[place], lambda payload: payload.update(handle="someone.test"))
        return judge(story, reading)

    assert keep(own).ok
    assert only(keep(forged)) == "changed"


def test_a_local_takedown_is_combined_with_what_the_host_says() -> None:
    story = told()
    story.account(DID)
    reading = PerfectRelay().take(story.emissions)
    reading[-1] = retell(reading[-1], lambda payload: payload.update(active=False, status="takendown"))
    assert only(judge(story, reading)) == "changed"
    assert judge(story, reading, policy=Policy("strict", local_status={DID: "takendown"})).ok
