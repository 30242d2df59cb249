"""One operation of a commit: what happened to one record."""

from typing import NamedTuple


class RepoOp(NamedTuple):
    """`action` is "create", "update" or "delete"; `path` is "<collection>/<record key>".

    `cid`: the record's new CID (36 bytes), None for a delete. `prev`: the one it had before, None for a create and
    where the host doesn't say. Source: lexicon com.atproto.sync.subscribeRepos#repoOp.
    """

    action: str
    path: str
    cid: bytes | None
    prev: bytes | None
