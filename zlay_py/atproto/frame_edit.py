"""Editing a frame's payload as bytes: its seq, its top-level fields; and encoding the few payloads we originate.

Owns: that every byte which isn't meant to change stays what it was, unknown fields included, and that keys stay in
canonical order. Refuses to own: whether a payload is valid; it has to have come out of `frame.decode`.
"""

from collections.abc import Mapping
from typing import Final

from zlay_py.atproto import dag_cbor
from zlay_py.errors import CborError, FrameError

_MAP: Final = 5


class Remove:
    """In the changes given to `rewrite`: this field is to go."""

    __slots__ = ()


REMOVE: Final = Remove()


def splice(payload: bytes, span: tuple[int, int], seq: int) -> bytes:
    """The payload with the seq at `span` (from `frame.seq_span`) replaced. Raises ValueError for a negative seq."""
    start, end = span
    return payload[:start] + dag_cbor.encode_uint(seq) + payload[end:]


def rewrite(payload: bytes, changes: Mapping[str, object | Remove]) -> bytes:
    """The payload with top-level fields set, added (at their canonical place) or, with `REMOVE`, taken out.

    All other fields keep their bytes. Taking out a field that isn't there changes nothing. Raises `FrameError` if
    the payload is no canonical map, ValueError if a new value is outside the data model.
    """
    try:
        items = dag_cbor.top_level_items(payload)
    except CborError as error:
        raise FrameError(f"payload: {error}") from error
    fields = {key: payload[key_start:end] for key, key_start, _, end in items}
    for key, value in changes.items():
        if isinstance(value, Remove):
            fields.pop(key, None)
        else:
            fields[key] = dag_cbor.encode_text(key) + dag_cbor.encode(value)
    # An encoded key sorts as the spec wants it: its head grows with its length. What follows can't matter, since
    # no two fields have the same key.
    return dag_cbor.encode_head(_MAP, len(fields)) + b"".join(sorted(fields.values()))


def encode_account(did: str, time: str, active: bool, status: str | None, seq: int = 0) -> bytes:
    """The payload of an #account of our own. `time`: atproto datetime. `status` None: the field is left out."""
    fields: dict[str, object] = {"did": did, "seq": seq, "time": time, "active": active}
    if status is not None:
        fields["status"] = status
    return dag_cbor.encode(fields)


def encode_identity(did: str, time: str, handle: str | None, seq: int = 0) -> bytes:
    """The payload of an #identity of our own. `handle` None: the field is left out."""
    fields: dict[str, object] = {"did": did, "seq": seq, "time": time}
    if handle is not None:
        fields["handle"] = handle
    return dag_cbor.encode(fields)


def encode_sync(did: str, rev: str, time: str, blocks: bytes, seq: int = 0) -> bytes:
    """The payload of a #sync. `blocks`: a CAR slice with the commit alone."""
    return dag_cbor.encode({"did": did, "rev": rev, "seq": seq, "time": time, "blocks": blocks})
