"""Writes the samples in `valid/` and `invalid/`: `python tests/frames/make_samples.py`.

Encoded with the `dag-cbor` package, which shares no code with ours, or byte by byte where no encoder would. Each file
has the frame in hex and what has to become of it. valid: kind, seq, did, whether the strict decoder was needed, and
the fields of the event. invalid: who refuses it ("frame" costs the connection, "event" the event) and a part of why.
"""

import json
from pathlib import Path
from typing import Any

import dag_cbor as independent
from multiformats import CID

HERE = Path(__file__).parent
DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
REV, SINCE = "3n2rpq4bu6k2b", "3n2rpq3zzzz2b"
TIME = "2026-07-01T12:00:00.123Z"
PATH = "app.bsky.feed.post/3n2rpq4bu6k2b"
BLOCKS = bytes.fromhex("3aa265726f6f7473")  # the beginning of a CAR slice: events don't look further


def link(fill: int, codec: int = 0x71) -> CID:
    return CID.decode(bytes((1, codec, 0x12, 0x20)) + bytes((fill,)) * 32)


def encode(value: Any) -> bytes:
    return independent.encode(value)


CREATE: dict[str, Any] = {"action": "create", "path": PATH, "cid": link(1)}
COMMIT: dict[str, Any] = {
    "seq": 4711,
    "repo": DID,
    "rev": REV,
    "since": SINCE,
    "time": TIME,
    "commit": link(2),
    "blocks": BLOCKS,
    "ops": [CREATE],
    "prevData": link(3),
    "tooBig": False,
    "rebase": False,
    "blobs": [],
}
SYNC = {"seq": 24, "did": DID, "rev": REV, "time": TIME, "blocks": BLOCKS}
IDENTITY = {"seq": 256, "did": DID, "time": TIME, "handle": "alice.test"}
ACCOUNT = {"seq": 65536, "did": DID, "time": TIME, "active": True}
INFO = {"name": "OutdatedCursor", "message": "too old"}
ERROR = {"error": "FutureCursor", "message": "not yet"}


def header(t: str) -> bytes:
    return encode({"op": 1, "t": t})


def frame(t: str, body: dict[str, Any], *, without: str = "", **changes: Any) -> bytes:
    fields = {key: value for key, value in {**body, **changes}.items() if key != without}
    return header(t) + encode(fields)


def commit(**changes: Any) -> bytes:
    return frame("#commit", COMMIT, **changes)


def op(**changes: Any) -> bytes:
    return commit(ops=[{**CREATE, **changes}])


def write(folder: str, name: str, raw: bytes, note: str, expect: dict[str, Any]) -> None:
    path = HERE / folder / f"{name}.json"
    content = {"note": note, "frame": raw.hex(), "expect": expect}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n")


def hexed(value: Any) -> Any:
    """What the expectation says for a value: bytes and links in hex."""
    if isinstance(value, CID):
        return bytes(value).hex()
    return value.hex() if isinstance(value, bytes) else value


def valid_commits() -> None:
    usual = {
        "did": DID,
        "rev": REV,
        "since": SINCE,
        "time": TIME,
        "commit": hexed(link(2)),
        "blocks": BLOCKS.hex(),
        "ops": [["create", PATH, hexed(link(1)), None]],
        "prev_data": hexed(link(3)),
        "too_big": False,
        "missing_deprecated": [],
    }

    def sample(name: str, note: str, raw: bytes, *, typed: bool = False, seq: int = 4711, **event: Any) -> None:
        expect = {"kind": "#commit", "seq": seq, "did": DID, "typed": typed, "event": usual | event}
        write("valid", f"commit_{name}", raw, note, expect)

    delete = {"action": "delete", "path": PATH, "cid": None, "prev": link(4)}
    update = {"action": "update", "path": PATH, "cid": link(1), "prev": link(4)}
    old = hexed(link(4))
    sample("create", "as most are", commit())
    sample("delete", "", commit(ops=[delete]), ops=[["delete", PATH, None, old]])
    sample("update", "", commit(ops=[update]), ops=[["update", PATH, hexed(link(1)), old]])
    sample("no_ops", "an empty commit is allowed", commit(ops=[]), ops=[])
    sample("first", "no earlier commit", commit(since=None, without="prevData"), since=None, prev_data=None)
    sample("prev_data_null", "old encoders mean: absent", commit(prevData=None), prev_data=None)
    sample("op_prev_null", "old encoders mean: absent", op(prev=None))
    sample("too_big", "the flag means nothing any more", commit(tooBig=True), too_big=True)
    sample("blobs", "deprecated, still sent by some", commit(blobs=[link(9, 0x55)]))
    sample("seq_max", "2**53 - 1", commit(seq=2**53 - 1), seq=2**53 - 1)
    lean = {key: value for key, value in COMMIT.items() if key not in ("rebase", "tooBig", "blobs")}
    missing = ["blobs", "rebase", "tooBig"]
    sample("lean", "without the deprecated fields", frame("#commit", lean), missing_deprecated=missing)
    new: dict[str, Any] = {"x": [1, {"y": None}], "zzzzzzzzz": "new"}
    sample("unknown_fields", "", commit(**new), typed=True)
    sample("removed_prev", "a field removed in 2025", commit(prev=link(8)), typed=True)
    sample("unknown_op_field", "", op(note="new"), typed=True)
    like_cid = bytes(link(7))
    sample("bytes_like_cid", "a byte string, not a link", commit(unknown=like_cid), typed=True)


def valid_others() -> None:
    def sample(name: str, kind: str, raw: bytes, note: str, seq: int, typed: bool, event: dict[str, Any]) -> None:
        did = DID if seq else ""
        expect = {"kind": kind, "seq": seq, "did": did, "typed": typed, "event": event}
        write("valid", name, raw, note, expect)

    who = {"did": DID, "time": TIME}
    sample("sync", "#sync", frame("#sync", SYNC), "", 24, False, who | {"rev": REV, "blocks": BLOCKS.hex()})
    identity = who | {"handle": "alice.test"}
    account: dict[str, Any] = who | {"active": True, "status": None}
    sample("identity", "#identity", frame("#identity", IDENTITY), "", 256, False, identity)
    raw = frame("#identity", IDENTITY, without="handle")
    sample("identity_no_handle", "#identity", raw, "", 256, False, identity | {"handle": None})
    raw = frame("#identity", IDENTITY, handle="handle.invalid")
    sample("identity_invalid", "#identity", raw, "", 256, False, identity | {"handle": "handle.invalid"})
    sample("account", "#account", frame("#account", ACCOUNT), "", 65536, False, account)
    for name, active, status in (("gone", False, "takendown"), ("lagging", True, "desynchronized"), ("new", True, "x")):
        raw = frame("#account", ACCOUNT, active=active, status=status)
        expect = account | {"active": active, "status": status}
        sample(f"account_{name}", "#account", raw, "status is open", 65536, False, expect)
    raw = frame("#account", ACCOUNT, future={"a": []})
    sample("account_unknown_field", "#account", raw, "", 65536, True, account)
    sample("info", "#info", frame("#info", INFO), "no seq", 0, False, INFO)
    raw = frame("#info", INFO, without="message")
    sample("info_no_message", "#info", raw, "", 0, False, INFO | {"message": ""})
    start = bytes.fromhex("a1626f7020")
    sample("error", "error", start + encode(ERROR), "no t", 0, False, ERROR)
    raw = start + encode({"error": "ConsumerTooSlow"})
    sample("error_no_message", "error", raw, "", 0, False, {"error": "ConsumerTooSlow", "message": ""})
    raw = encode({"op": 1, "t": "#account", "x": 1}) + encode(ACCOUNT)
    sample("header_unknown_field", "#account", raw, "", 65536, False, account)
    raw = encode({"op": -1, "t": "#error"}) + encode(ERROR)
    sample("error_with_t", "error", raw, "t has no meaning there", 0, False, ERROR)
    for name, head in (
        ("unknown_t", {"op": 1, "t": "#tombstone"}),
        ("unknown_t_full_name", {"op": 1, "t": "com.atproto.sync.subscribeRepos#commit"}),
        ("unknown_t_error", {"op": 1, "t": "error"}),
        ("unknown_op", {"op": 2, "t": "#commit"}),
    ):
        raw = encode(head) + encode(ACCOUNT)
        expect = {"kind": "unknown", "seq": 65536, "did": DID, "typed": True, "event": None}
        write("valid", name, raw, "to be ignored", expect)


def invalid_frames() -> None:
    def sample(name: str, raw: bytes, because: str, note: str = "") -> None:
        write("invalid", f"frame_{name}", raw, note, {"refused_by": "frame", "because": because})

    account = encode(ACCOUNT)
    whole = header("#account") + account
    sample("empty", b"", "header: truncated")
    sample("header_alone", header("#account"), "payload: truncated")
    sample("header_array", encode([1]) + account, "no map")
    sample("header_without_op", encode({"t": "#account"}) + account, "without op")
    sample("header_op_text", encode({"op": "1", "t": "#account"}) + account, "without op")
    sample("header_op_float", encode({"op": 1.0, "t": "#account"}) + account, "header: a float")
    sample("header_without_t", encode({"op": 1}) + account, "without t")
    sample("header_t_number", encode({"op": 1, "t": 1}) + account, "without t")
    sample("header_key_order", bytes.fromhex("a2626f70016174") + encode("#account") + account, "not canonical")
    sample("payload_array", header("#account") + encode([ACCOUNT]), "no map")
    sample("payload_null", header("#account") + b"\xf6", "no map")
    sample("payload_truncated", whole[:-1], "truncated")
    sample("trailing_byte", whole + b"\x00", "1 bytes after")
    sample("third_object", whole + account, "bytes after")
    sample("unknown_t_payload_array", header("#new") + encode([1]), "no map")
    sample("unknown_t_broken", header("#new") + b"\xa1", "truncated")

    def info(raw: bytes) -> bytes:
        """An #info with one more field, encoded by hand, after `name`."""
        return header("#info") + b"\xa2" + encode("name") + encode("x") + raw

    extra = encode("extra")
    sample("float", info(extra + bytes.fromhex("fb3ff8000000000000")), "a float")
    sample("float_in_known_field", frame("#account", ACCOUNT, seq=1.0), "a float")
    sample("float_nested", frame("#account", ACCOUNT, time=[{"a": 1.5}]), "a float")
    sample("nan", info(extra + bytes.fromhex("f97e00")), "a float")
    sample("undefined", info(extra + b"\xf7"), "simple value")
    sample("tag_time", info(extra + b"\xc0" + encode(TIME)), "a tag")
    sample("tag_bignum", info(extra + bytes.fromhex("c249010000000000000000")), "a tag")
    sample("link_without_zero", info(extra + bytes.fromhex("d82a5824") + bytes(link(1))), "leading zero")
    sample("link_bogus", info(extra + bytes.fromhex("d82a420001")), "no CID")
    v0 = bytes.fromhex("d82a5823001220") + bytes(32)
    sample("link_version_0", info(extra + v0), "no CID")
    sample("integer_over_64_bits", info(extra + b"\x1b" + b"\xff" * 8), "over 64 bits")
    sample("seq_over_64_bits", frame("#account", ACCOUNT, seq=2**64 - 1), "over 64 bits")
    sample("integer_not_minimal", info(extra + bytes.fromhex("1801")), "not canonical")
    sample("length_not_minimal", info(extra + bytes.fromhex("780161")), "not canonical")
    sample("indefinite_text", info(extra + bytes.fromhex("7f6161ff")), "indefinite")
    sample("indefinite_array", info(extra + bytes.fromhex("9fff")), "indefinite")
    sample("key_order", header("#info") + b"\xa2" + extra + b"\x01" + encode("name") + encode("x"), "not canonical")
    sample("key_twice", info(encode("name") + b"\x01"), "malformed")
    sample("key_bytes", info(bytes.fromhex("456162636465") + b"\x01"), "no text")
    sample("key_number", info(bytes.fromhex("1903e801")), "malformed")
    sample("text_not_utf8", info(extra + bytes.fromhex("62c328")), "malformed")
    sample("huge_length", info(extra + b"\x5b" + b"\x7f" + b"\xff" * 7), "truncated")


def invalid_events() -> None:
    def sample(name: str, raw: bytes, because: str) -> None:
        write("invalid", f"event_{name}", raw, "", {"refused_by": "event", "because": because})

    for name, value in (("zero", 0), ("negative", -1), ("over", 2**53)):
        sample(f"seq_{name}", commit(seq=value), "seq")
    sample("seq_missing", commit(without="seq"), "seq")
    sample("seq_text", commit(seq="1"), "seq")
    sample("identity_seq_missing", frame("#identity", IDENTITY, without="seq"), "seq")
    sample("repo_missing", commit(without="repo"), "repo")
    sample("repo_no_did", commit(repo="alice.test"), "no DID")
    sample("did_missing", frame("#account", ACCOUNT, without="did"), "did")
    sample("did_for_repo", frame("#commit", COMMIT, without="repo", did=DID), "repo")
    sample("rev_no_tid", commit(rev="3n2rpq4bu6k2B"), "rev")
    sample("sync_rev_no_tid", frame("#sync", SYNC, rev=""), "rev")
    sample("since_missing", commit(without="since"), "since")
    sample("since_no_tid", commit(since="yesterday"), "since")
    sample("time_no_datetime", commit(time="2026-07-01"), "time")
    sample("commit_raw_codec", commit(commit=link(2, 0x55)), "commit")
    sample("commit_bytes", commit(commit=bytes(link(2))), "commit")
    sample("blocks_missing", commit(without="blocks"), "blocks")
    sample("blocks_link", commit(blocks=link(5)), "blocks")
    sample("blocks_text", commit(blocks="3aa2"), "blocks")
    sample("ops_map", commit(ops={}), "ops")
    sample("ops_of_text", commit(ops=["create"]), "operation")
    sample("op_action", op(action="upsert"), "action")
    sample("op_path", op(path="app.bsky.feed.post"), "path")
    sample("op_cid_missing", commit(ops=[{"action": "create", "path": PATH}]), "cid")
    sample("op_cid_raw_codec", op(cid=link(1, 0x55)), "cid")
    sample("op_cid_bytes", op(cid=bytes(link(1))), "cid")
    sample("op_prev_bytes", op(prev=bytes(link(1))), "prev")
    sample("prev_data_text", commit(prevData="bafy"), "prevData")
    sample("blobs_of_text", commit(blobs=["bafy"]), "blobs")
    sample("rebase_number", commit(rebase=0), "rebase")
    sample("active_missing", frame("#account", ACCOUNT, without="active"), "active")
    sample("active_number", frame("#account", ACCOUNT, active=1), "active")
    sample("status_null", frame("#account", ACCOUNT, status=None), "status")
    sample("handle_malformed", frame("#identity", IDENTITY, handle="alice"), "handle")
    sample("handle_null", frame("#identity", IDENTITY, handle=None), "handle")
    sample("info_name_missing", frame("#info", INFO, without="name"), "name")
    sample("error_name_missing", bytes.fromhex("a1626f7020") + encode({"message": "x"}), "error")


if __name__ == "__main__":
    for folder in ("valid", "invalid"):
        (HERE / folder).mkdir(exist_ok=True)
        for stale in (HERE / folder).glob("*.json"):
            stale.unlink()
    valid_commits()
    valid_others()
    invalid_frames()
    invalid_events()
