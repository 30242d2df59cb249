"""Merkle search trees for tests: an independent model, keys of chosen layers, and nodes made by hand, bad ones too."""

import hashlib
import random
from collections.abc import Callable
from itertools import count, pairwise
from typing import Any

from zlay_py.atproto import cid, dag_cbor, mst
from zlay_py.atproto.dag_cbor import Link
from zlay_py.errors import InversionError, MstError

VALUE = cid.parse("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454")


def model_layer(key: bytes) -> int:
    bits = "".join(f"{byte:08b}" for byte in hashlib.sha256(key).digest())
    return (len(bits) - len(bits.lstrip("0"))) // 2


def model_root(entries: dict[bytes, bytes]) -> bytes:
    """The root by the definition of the tree, recursively, with the strict encoder."""

    def subtree(keys: list[bytes], depth: int) -> Link | None:
        if not keys:
            return None
        split = [i for i, key in enumerate(keys) if model_layer(key) == depth]
        bounds = [*split, len(keys)]
        node: dict[str, Any] = {"l": subtree(keys[: bounds[0]], depth - 1), "e": []}
        previous = b""
        for position, end in pairwise(bounds):
            key = keys[position]
            shared = next((i for i, (a, b) in enumerate(zip(previous, key, strict=False)) if a != b), None)
            shared = min(len(previous), len(key)) if shared is None else shared
            right = subtree(keys[position + 1 : end], depth - 1)
            node["e"].append({"p": shared, "k": key[shared:], "v": Link(entries[key]), "t": right})
            previous = key
        return Link(cid.for_block(dag_cbor.encode(node)))

    if not entries:
        return cid.for_block(dag_cbor.encode({"l": None, "e": []}))
    return subtree(sorted(entries), max(map(model_layer, entries))) or b""


def key_on(depth: int, prefix: str = "k", *, after: bytes = b"") -> bytes:
    """The first key `<prefix>/<n>` of a layer that is above `after`."""
    return next(key for n in count() if (key := f"{prefix}/{n:05}".encode()) > after and model_layer(key) == depth)


def ascending_on(depth: int, number: int) -> list[bytes]:
    keys: list[bytes] = []
    for _ in range(number):
        keys.append(key_on(depth, after=keys[-1] if keys else b""))
    return keys


def random_cid(rng: random.Random) -> bytes:
    return cid.for_block(rng.randbytes(8))


def entry(key: bytes, shared: int = 0, right: bytes | None = None, **fields: Any) -> dict[str, Any]:
    return {"p": shared, "k": key[shared:], "v": Link(VALUE), "t": right and Link(right), **fields}


def shared(a: bytes, b: bytes) -> int:
    return mst.common_prefix_length(a, b)


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def tree(*nodes: Any) -> tuple[bytes, dict[bytes, bytes]]:
    """Root (the first node) and blocks. A node is fields, or bytes as they are."""
    raw = [node if isinstance(node, bytes) else dag_cbor.encode(node) for node in nodes]
    return cid.for_block(raw[0]), {cid.for_block(block): block for block in raw}


def link(node: Any) -> bytes:
    return tree(node)[0]


def run(read: Callable[[], object]) -> object:
    try:
        return read()
    except (MstError, InversionError) as error:
        return error
