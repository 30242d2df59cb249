"""Repositories that are really signed and really proven: what a host would send, made in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from zlay_py.atproto import car, cid, commit, dag_cbor, frame, keys, mst, syntax
from zlay_py.atproto.dag_cbor import Link
from zlay_py.atproto.frame import FrameKind
from zlay_py.atproto.keys import Curve

TIME = "2026-01-02T03:04:05.678Z"
FIRST_REV_US = 1_750_000_000_000_000


class Signer:
    """A private key of either curve. Signatures are low-S, as the protocol wants them."""

    def __init__(self, curve: Curve = Curve.K256) -> None:
        self.curve = curve
        self._private = ec.generate_private_key(ec.SECP256K1() if curve is Curve.K256 else ec.SECP256R1())
        point = self._private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        codec = b"\xe7\x01" if curve is Curve.K256 else b"\x80\x24"
        self.public = keys.parse_did_key("did:key:z" + base58(codec + point))

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self._private.sign(message, ec.ECDSA(hashes.SHA256())))
        return keys.low_s(self.curve, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def base58(data: bytes) -> str:
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = alphabet[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def did_plc(number: int) -> str:
    """A well-formed did:plc for every number."""
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    text = ""
    for _ in range(24):
        number, digit = divmod(number, 32)
        text = letters[digit] + text
    return f"did:plc:{text}"


@dataclass
class Repo:
    """One account's repository. Every method gives a whole wire frame with seq 0; `with_seq` puts the host's in."""

    did: str
    signer: Signer = field(default_factory=Signer)
    records: dict[str, bytes] = field(default_factory=dict)
    rev: str | None = None
    root: bytes = mst.EMPTY_ROOT
    commit_cid: bytes | None = None
    _nodes: dict[bytes, bytes] = field(default_factory=lambda: mst.build({})[1])
    _time_us: int = FIRST_REV_US

    def next_rev(self) -> str:
        self._time_us += 1_000
        return syntax.tid_from(self._time_us, 7)

    def identity(self, handle: str | None = None) -> bytes:
        body: dict[str, object] = {"did": self.did, "seq": 0, "time": TIME}
        if handle is not None:
            body["handle"] = handle
        return message(FrameKind.IDENTITY, body)

    def account(self, active: bool = True, status: str | None = None) -> bytes:
        body: dict[str, object] = {"did": self.did, "seq": 0, "time": TIME, "active": active}
        if status is not None:
            body["status"] = status
        return message(FrameKind.ACCOUNT, body)

    def create(self, path: str, record: Mapping[str, object] | None = None) -> bytes:
        return self.commit([("create", path, dict(record or {"$type": path.split("/")[0], "text": path}))])

    def delete(self, path: str) -> bytes:
        return self.commit([("delete", path, None)])

    def commit(
        self,
        ops: Sequence[tuple[str, str, Mapping[str, object] | None]],
        *,
        changes: Mapping[str, object] | None = None,
        rev: str | None = None,
    ) -> bytes:
        """Applies the operations and gives the `#commit`; `changes` replaces fields of the message (for bad ones)."""
        before, since = self.root, self.rev
        wire_ops: list[dict[str, object]] = []
        blocks: dict[bytes, bytes] = {}
        for action, path, record in ops:
            old = self.records.get(path)
            op: dict[str, object] = {"action": action, "path": path, "cid": None}
            if old is not None:
                op["prev"] = Link(old)
            if record is None:
                del self.records[path]
            else:
                block = dag_cbor.encode(dict(record))
                self.records[path] = cid.for_block(block)
                blocks[self.records[path]] = block
                op["cid"] = Link(self.records[path])
            wire_ops.append(op)
        entries = {path.encode(): value for path, value in self.records.items()}
        self.root, nodes = mst.build(entries)
        proof = mst.covering_proof(self.root, nodes, [path.encode() for _, path, _ in ops])
        blocks |= {node: nodes[node] for node in proof}
        blocks |= {node: block for node, block in nodes.items() if node not in self._nodes}
        self._nodes = nodes
        self.rev = rev or self.next_rev()
        body: dict[str, object] = {
            "ops": wire_ops,
            "since": since,
            "blocks": self._signed_car(blocks),
            "rebase": False,
            "tooBig": False,
            "blobs": [],
        }
        if since is not None:
            body["prevData"] = Link(before)
        return self._message(FrameKind.COMMIT, "repo", body | dict(changes or {}))

    def sync(self) -> bytes:
        """A `#sync` that carries a new commit over the same tree."""
        self.rev = self.next_rev()
        return self._message(FrameKind.SYNC, "did", {"blocks": self._signed_car({})}, with_commit=False)

    def sync_again(self) -> bytes:
        """A `#sync` with the rev and the commit that were sent last."""
        return self._message(FrameKind.SYNC, "did", {"blocks": self._last_car}, with_commit=False)

    def _signed_car(self, blocks: Mapping[bytes, bytes]) -> bytes:
        assert self.rev is not None
        signature = self.signer.sign(commit.encode_unsigned(self.did, self.rev, self.root))
        block = commit.encode_signed(self.did, self.rev, self.root, signature)
        self.commit_cid = cid.for_block(block)
        self._last_car = car.write(self.commit_cid, [(self.commit_cid, block)])
        return car.write(self.commit_cid, [(self.commit_cid, block), *blocks.items()])

    def _message(self, kind: FrameKind, did_field: str, body: dict[str, object], *, with_commit: bool = True) -> bytes:
        assert self.commit_cid is not None
        fields: dict[str, object] = {did_field: self.did, "seq": 0, "time": TIME, "rev": self.rev}
        if with_commit:
            fields["commit"] = Link(self.commit_cid)
        return message(kind, fields | body)


def message(kind: FrameKind, body: Mapping[str, object]) -> bytes:
    return frame.HEADERS[kind] + dag_cbor.encode(dict(body))


def with_seq(wire: bytes, seq: int) -> bytes:
    """The same frame with another seq."""
    decoded = frame.decode(frame_with_any_seq(wire))
    header = frame.HEADERS[decoded.kind]
    return header + frame.splice(decoded.payload, frame.seq_span(decoded.payload, decoded.kind), seq)


def frame_with_any_seq(wire: bytes) -> bytes:
    """Frames are made with seq 0, which no host may send: 1 instead, so that the decoder takes it."""
    kind = next(kind for kind, header in frame.HEADERS.items() if wire.startswith(header))
    header = frame.HEADERS[kind]
    payload = wire[len(header) :]
    start, end = frame.seq_span(payload, kind)
    return header + frame.splice(payload, (start, end), 1)
