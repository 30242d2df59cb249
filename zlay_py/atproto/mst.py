"""The Merkle search tree of a repository: one door to the files it is made of.

    mst_node   one node: its bytes, layers of keys
    mst_slice  reading: a commit's slice, a whole tree, covering proofs
    mst_build  writing: the canonical tree of some keys and subtrees
    mst_edit   changing a slice, for operation inversion

Keys are bytes of any content: that they are repository paths is for others to check. Links and records are CIDs
of 36 raw bytes. Trees are read under limits (`KEY_BYTES_MAX` and the others, each with its reason); nothing here
recurses.
Source: atproto repository spec, "MST Structure".
"""

from zlay_py.atproto.mst_build import EMPTY_ROOT, build
from zlay_py.atproto.mst_node import (
    DEPTH_MAX,
    ENTRIES_MAX,
    KEY_BYTES_MAX,
    NODE_BYTES_MAX,
    common_prefix_length,
    layer,
)
from zlay_py.atproto.mst_slice import NODES_MAX, SLICE_KEY_BYTES_MAX, covering_proof, read_entries

__all__ = [
    "DEPTH_MAX",
    "EMPTY_ROOT",
    "ENTRIES_MAX",
    "KEY_BYTES_MAX",
    "NODES_MAX",
    "NODE_BYTES_MAX",
    "SLICE_KEY_BYTES_MAX",
    "build",
    "common_prefix_length",
    "covering_proof",
    "layer",
    "read_entries",
]
