"""A record's bytes: what comes back, and that damage never does."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventlog.builders import event, verdict
from tests.eventlog.test_log_delta import DELTAS
from zlay_py.eventlog.record import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    Entry,
    Record,
    RecordFlag,
    RecordInvalidError,
    RecordKind,
    decode,
    did_hash,
    encode,
    header_glimpse,
    header_is_valid,
    size_at,
)

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
SALT = 0x5A17
ENTRIES = st.builds(
    Entry,
    kind=st.sampled_from(RecordKind),
    uid=U64,
    did_hash=U64,
    host_id=U32,
    upstream_seq=U64,
    upstream_epoch=U32,
    time_us=U64,
    payload=st.binary(max_size=300),
    seq_span=st.just((0, 0)),
    delta=DELTAS,
)


def written(entry: Entry, seq: int = 9, synced_bytes: int = 68, salt: int = SALT) -> bytes:
    head, delta = encode(entry, seq, entry.payload, synced_bytes, salt)
    return head + entry.payload + delta


@given(ENTRIES, U64, U64, U32, st.binary(max_size=9), st.binary(max_size=9))
def test_a_record_comes_back_as_it_went_in(
    entry: Entry, seq: int, synced_bytes: int, salt: int, before: bytes, after: bytes
) -> None:
    encoded = written(entry, seq, synced_bytes, salt)
    assert decode(before + encoded + after, len(before), salt) == (
        Record(
            seq,
            entry.kind,
            RecordFlag.NONE,
            entry.uid,
            entry.did_hash,
            entry.host_id,
            entry.upstream_seq,
            entry.upstream_epoch,
            entry.time_us,
            synced_bytes,
            entry.payload,
            encode(entry, seq, entry.payload, synced_bytes, salt)[1],
        ),
        len(before) + len(encoded),
    )
    record = decode(encoded, 0, salt)
    assert record is not None
    assert record[0].delta == entry.delta
    assert size_at(encoded, 0) == len(encoded)


@given(ENTRIES, st.data())
def test_any_changed_bit_is_found(entry: Entry, data: st.DataObject) -> None:
    encoded = bytearray(written(entry))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        found = decode(bytes(encoded), 0, SALT)
    except RecordInvalidError:
        return
    # A larger length may reach beyond these bytes. And the takedown flag alone stands outside the checksums.
    assert found is None or (bit == 0 and found[0].taken_down)


@given(ENTRIES, st.data())
def test_a_record_that_is_not_whole_is_none(entry: Entry, data: st.DataObject) -> None:
    encoded = written(entry)
    assert decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))], 0, SALT) is None


@given(st.binary(max_size=400), U32)
def test_any_bytes_are_no_record_or_an_error_of_ours(junk: bytes, salt: int) -> None:
    try:
        assert decode(junk, 0, salt) is None
        size_at(junk, 0)
    except RecordInvalidError:
        pass


@given(ENTRIES, U32.filter(lambda salt: salt != SALT))
def test_a_record_of_another_segment_is_not_taken(entry: Entry, salt: int) -> None:
    with pytest.raises(RecordInvalidError):
        decode(written(entry), 0, salt)


def test_a_record_that_is_taken_down_is_read_without_its_payload() -> None:
    entry = event(1)
    encoded = bytearray(written(entry))
    encoded[0:4] = RecordFlag.TAKEDOWN.to_bytes(4, "little")
    encoded[HEADER_BYTES : HEADER_BYTES + len(entry.payload)] = bytes(len(entry.payload))
    found = decode(bytes(encoded), 0, SALT)
    assert found is not None
    assert found[0].taken_down
    assert found[0].delta == entry.delta


@pytest.mark.parametrize("flags", [2, 3, 1 << 31])
def test_flags_of_a_newer_program_are_an_error(flags: int) -> None:
    encoded = flags.to_bytes(4, "little") + written(event(1))[4:]
    with pytest.raises(RecordInvalidError, match="flags"):
        decode(encoded, 0, SALT)


@given(ENTRIES)
def test_a_header_can_be_checked_without_the_payload(entry: Entry) -> None:
    encoded = written(entry, seq=77, synced_bytes=1234)
    seen = header_glimpse(encoded[:HEADER_BYTES])
    assert (seen.seq, seen.record_bytes, seen.synced_bytes) == (77, len(encoded), 1234)
    delta = encoded[len(encoded) - seen.delta_bytes :]
    assert header_is_valid(encoded[:HEADER_BYTES], delta, SALT)
    assert not header_is_valid(encoded[:HEADER_BYTES], delta + b"x", SALT)
    assert not header_is_valid(encoded[:HEADER_BYTES], delta, SALT + 1)


@pytest.mark.parametrize("changes", [{"uid": -1}, {"host_id": 2**32}, {"upstream_seq": 2**64}, {"time_us": -1}])
def test_a_number_that_does_not_fit_is_the_callers_mistake(changes: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"format|argument"):
        written(event(1, **changes))


def test_a_payload_over_the_bound_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="a payload of"):
        written(replace(event(1), payload=bytes(PAYLOAD_BYTES_MAX + 1)))


def test_a_size_that_no_record_has_is_an_error_before_anything_is_read() -> None:
    encoded = written(event(1))
    with pytest.raises(RecordInvalidError, match="size"):
        size_at(encoded[:8] + b"\xff\xff\xff\x7f" + encoded[12:], 0)


def test_a_verdict_names_the_seq_that_it_judges() -> None:
    found = decode(written(verdict(2**53 - 1, verified=False)), 0, SALT)
    assert found is not None
    assert found[0].judged_seq == 2**53 - 1
    assert not found[0].delta.verified


def test_the_hash_of_a_did_never_changes() -> None:
    """It is on disks."""
    assert did_hash("did:plc:ewvi7nxzyoun6zhxrhs64oiz") == 0x052CD66CA94E9E09
