"""The JSON form of the data model: links as {"$link": CID}, byte strings as {"$bytes": base64}, blobs spelled out.

Owns: the two-way mapping between such JSON and the values of `dag_cbor`. Refuses to own: text (`json` does that) and
record schemas. Source: atproto data model spec, "JSON Representation", "Blob Type".
"""

import base64
import binascii
import re
from typing import Final

from zlay_py.atproto import cid
from zlay_py.atproto.dag_cbor import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN, Link
from zlay_py.errors import InvalidDataError

_BASE64: Final = re.compile("[A-Za-z0-9+/]*={0,2}")
_BLOB_FIELDS: Final = frozenset(("$type", "ref", "mimeType", "size"))
_FLOAT_INTEGER_MAX: Final = 2**53
"""Up to here a float is exact, so an integral one means the integer that it was written as."""


def from_json(value: object) -> dict[str, object]:
    """The data-model value of a decoded JSON object, links as `Link`.

    Raises `InvalidDataError` for anything that isn't an object at the top, other numbers than integers (`1.0` is
    one), a `$type` that is no text, and malformed `$link`, `$bytes` and blobs.
    """
    result = _from_json(value, DEPTH_MAX)
    if not isinstance(result, dict):
        raise InvalidDataError("not an object")
    return result


def to_json(value: object) -> object:
    """What `json.dumps` should be given for a value that `dag_cbor.decode` gave."""
    if isinstance(value, Link):
        return {"$link": cid.to_string(bytes(value))}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode().rstrip("=")}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value


def _from_json(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return _integer(value)
    if depth == 0:
        raise InvalidDataError("nested too deeply")
    if isinstance(value, list):
        return [_from_json(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return _object(value, depth)
    raise InvalidDataError(f"a {type(value).__name__} is not in the data model")


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can escape half a character, UTF-8 can't hold it
        raise InvalidDataError("text that is not Unicode") from error
    return value


def _integer(value: float) -> int:
    if isinstance(value, float) and (abs(value) > _FLOAT_INTEGER_MAX or not value.is_integer()):
        raise InvalidDataError("a number that is no integer")
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise InvalidDataError("an integer over 64 bits")
    return int(value)


def _object(value: dict[str, object], depth: int) -> object:
    if "$link" in value:
        text = _only_text(value, "$link")
        return Link(cid.parse(text))
    if "$bytes" in value:
        return _bytes(_only_text(value, "$bytes"))
    kind = value.get("$type", "absent")
    if not isinstance(kind, str) or not kind:
        raise InvalidDataError("a $type that is no text")
    result = {_text(key): _from_json(item, depth - 1) for key, item in value.items()}
    if kind == "blob":
        _check_blob(result)
    return result


def _only_text(value: dict[str, object], key: str) -> str:
    text = value[key]
    if len(value) != 1 or not isinstance(text, str):
        raise InvalidDataError(f"{key} with another field, or no text")
    return text


def _bytes(text: str) -> bytes:
    if not _BASE64.fullmatch(text):
        raise InvalidDataError("$bytes is no base64")
    text = text.rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise InvalidDataError("$bytes is no base64") from error


def _check_blob(blob: dict[str, object]) -> None:
    mime_type, size = blob.get("mimeType"), blob.get("size")
    if (
        blob.keys() != _BLOB_FIELDS
        or type(blob["ref"]) is not Link
        or not (isinstance(mime_type, str) and mime_type)
        or not (type(size) is int and size > 0)
    ):
        raise InvalidDataError("a malformed blob")
