"""The state delta's bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.eventlog.delta import (
    COLLECTIONS_MAX,
    DELTA_BYTES_MAX,
    REV_BYTES_MAX,
    STATUS_BYTES_MAX,
    Delta,
    DeltaInvalidError,
    DeltaUnencodableError,
    decode,
    encode,
)

_CIDS = st.none() | st.binary(min_size=36, max_size=36)
_STATUSES = st.none() | st.text(max_size=STATUS_BYTES_MAX // 4)
_COLLECTIONS = st.lists(st.from_regex(r"[a-z]{1,9}(\.[a-zA-Z0-9-]{1,9}){2,4}", fullmatch=True), max_size=5).map(tuple)

DELTAS = st.builds(
    Delta,
    verified=st.booleans(),
    relay_made=st.booleans(),
    inverted=st.booleans(),
    discontinuous=st.booleans(),
    rev=st.none() | st.text(max_size=REV_BYTES_MAX // 4),
    commit=_CIDS,
    data=_CIDS,
    upstream_status=_STATUSES,
    local_status=_STATUSES,
    collections_added=_COLLECTIONS,
    collections_removed=_COLLECTIONS,
    collections_undecided=_COLLECTIONS,
)


@given(DELTAS)
def test_a_delta_comes_back_as_it_went_in(delta: Delta) -> None:
    assert decode(encode(delta)) == delta


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: b"\x01" + tail))
def test_any_bytes_are_a_delta_or_an_error_of_ours(encoded: bytes) -> None:
    try:
        delta = decode(encoded)
    except DeltaInvalidError:
        return
    assert isinstance(delta, Delta)


@given(DELTAS, st.data())
def test_a_shortened_delta_is_never_another_one_of_the_same_length(delta: Delta, data: st.DataObject) -> None:
    encoded = encode(delta)
    short = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    try:
        found = decode(short)
    except DeltaInvalidError:
        return
    assert encode(found) == short


def test_bytes_after_the_end_are_an_error() -> None:
    with pytest.raises(DeltaInvalidError, match="after its end"):
        decode(encode(Delta(rev="3l5fexample22")) + b"\0")


def test_a_newer_version_is_an_error_that_says_so() -> None:
    with pytest.raises(DeltaInvalidError, match="version 2"):
        decode(b"\x02\x00")


def test_an_ordinary_commit_takes_few_bytes() -> None:
    delta = Delta(verified=True, inverted=True, rev="3l5fexample22", commit=bytes(36), data=bytes(36))
    assert len(encode(delta)) == 2 + 1 + 13 + 36 + 36


def test_the_largest_delta_is_within_the_bound() -> None:
    names = tuple("a" * 317 for _ in range(COLLECTIONS_MAX))
    text = "s" * STATUS_BYTES_MAX
    delta = Delta(True, True, True, True, "r" * REV_BYTES_MAX, bytes(36), bytes(36), text, text, names, names, names)
    encoded = encode(delta)
    assert len(encoded) <= DELTA_BYTES_MAX
    assert decode(encoded) == delta


@pytest.mark.parametrize(
    "delta",
    [
        Delta(rev="r" * (REV_BYTES_MAX + 1)),
        Delta(commit=b"short"),
        Delta(data=bytes(37)),
        Delta(upstream_status="s" * (STATUS_BYTES_MAX + 1)),
        Delta(local_status="é" * STATUS_BYTES_MAX),
        Delta(collections_added=("app.bsky.feed.post",) * (COLLECTIONS_MAX + 1)),
        Delta(collections_removed=("a" * 200_000,)),
        Delta(collections_undecided=("app.bsky feed.post",)),
        Delta(collections_added=("app.bsky.féed.post",)),
    ],
)
def test_what_no_event_can_carry_is_refused(delta: Delta) -> None:
    with pytest.raises(DeltaUnencodableError):
        encode(delta)
