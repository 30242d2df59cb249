"""The public data-model vectors, and the JSON form of the data model."""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zlay_py.atproto import cid, dag_cbor, data_json
from zlay_py.atproto.dag_cbor import Link
from zlay_py.errors import InvalidDataError

LINK = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"


def vectors(fixtures_dir: Path, name: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((fixtures_dir / "interop" / "data-model" / f"{name}.json").read_text())
    assert len(found) == count
    return found


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("number", range(3))
def test_fixtures(number: int, fixtures_dir: Path) -> None:
    vector = vectors(fixtures_dir, "data-model-fixtures", 3)[number]
    raw = base64.b64decode(vector["cbor_base64"] + "=" * (-len(vector["cbor_base64"]) % 4))
    value = dag_cbor.decode(raw)
    assert data_json.to_json(value) == vector["json"]
    assert data_json.from_json(vector["json"]) == value
    assert dag_cbor.encode(data_json.from_json(vector["json"])) == raw
    assert cid.to_string(cid.for_block(raw)) == vector["cid"]


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("number", range(5))
def test_valid(number: int, fixtures_dir: Path) -> None:
    vector = vectors(fixtures_dir, "data-model-valid", 5)[number]
    value = data_json.from_json(vector["json"])
    assert dag_cbor.decode(dag_cbor.encode(value)) == value
    assert data_json.to_json(value) == vector["json"]


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("number", range(12))
def test_invalid(number: int, fixtures_dir: Path) -> None:
    vector = vectors(fixtures_dir, "data-model-invalid", 12)[number]
    with pytest.raises(InvalidDataError):
        data_json.from_json(vector["json"])


def blob(**changes: object) -> dict[str, object]:
    usual = {"$type": "blob", "ref": {"$link": LINK}, "mimeType": "image/png", "size": 1}
    return {"a": {key: value for key, value in (usual | changes).items() if value is not ...}}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"a": 1.5},
        {"a": 2.0**53 + 2},
        {"a": float("inf")},
        {"a": float("nan")},
        {"a": 2**63},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": object()},
        {"$link": LINK},
        {"$bytes": "AA"},
        {"a": {"$link": LINK.upper()}},
        {"a": {"$bytes": "A"}},
        {"a": {"$bytes": "A==="}},
        {"a": {"$bytes": "AA-_"}},
        {"a": {"$bytes": "A A A"}},
        {"$type": ["x"]},
        blob(size=0),
        blob(size=True),
        blob(mimeType=""),
        blob(ref=LINK),
        blob(ref=...),
        blob(extra=1),
    ],
)
def test_no_data(value: object) -> None:
    with pytest.raises(InvalidDataError):
        data_json.from_json(value)


def test_data() -> None:
    assert data_json.from_json(blob())["a"] == {**blob()["a"], "ref": Link(cid.parse(LINK))}  # type: ignore[dict-item]
    for padded in ("AAE", "AAE="):
        assert data_json.from_json({"a": {"$bytes": padded}}) == {"a": b"\x00\x01"}
    assert data_json.from_json({"a": 2.0**53}) == {"a": 2**53}
    assert json.dumps(data_json.to_json({"a": 2**63 - 1})) == '{"a": 9223372036854775807}'


def test_nesting_is_bounded() -> None:
    deep: Any = {}
    for _ in range(dag_cbor.DEPTH_MAX - 1):
        deep = {"a": deep}
    assert dag_cbor.encode(data_json.from_json(deep))
    with pytest.raises(InvalidDataError, match="deep"):
        data_json.from_json({"a": deep})


keys = st.text(max_size=8).filter(lambda key: not key.startswith("$"))
links = st.binary(min_size=32, max_size=32).map(lambda digest: Link(cid.PREFIX_RAW + digest))
leaves = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8) | st.binary(max_size=8) | links
)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))


@settings(deadline=None)
@given(st.dictionaries(keys, values, max_size=4))
def test_round_trip_through_text(value: dict[str, Any]) -> None:
    back = data_json.from_json(json.loads(json.dumps(data_json.to_json(value))))
    assert dag_cbor.encode(back) == dag_cbor.encode(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$link", "$bytes", "$type", "ref", "size", "mimeType", "a"]), inner, max_size=4
        )
    ),
)


@settings(deadline=None)
@given(json_values)
def test_any_json_gives_data_or_our_error(value: Any) -> None:
    with contextlib.suppress(InvalidDataError):
        dag_cbor.encode(data_json.from_json(value))
