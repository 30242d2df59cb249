"""What is wrong with an event, by the product's own decoders: all of it, not only what is found first."""

from dataclasses import dataclass, field

from tools.simulator.model import Document, DocumentChange, Emission, Step
from zlay_py.atproto import car, commit, events, frame, keys, mst, sync11, syntax
from zlay_py.atproto.events import RECORD_BYTES_MAX, SYNC_BLOCKS_BYTES_MAX
from zlay_py.atproto.frame import Frame, FrameKind
from zlay_py.atproto.repo_op import RepoOp
from zlay_py.errors import EventInvalidError, FrameError, InvalidDataError

YEAR_US = 366 * 86_400_000_000
_PARSERS = {
    FrameKind.COMMIT: events.parse_commit,
    FrameKind.SYNC: events.parse_sync,
    FrameKind.IDENTITY: events.parse_identity,
    FrameKind.ACCOUNT: events.parse_account,
}


@dataclass
class Known:
    """What the witness has seen of an account."""

    active: bool = True
    status: str | None = None
    rev: str | None = None
    data: bytes | None = None
    commit: bytes | None = None


@dataclass
class Witness:
    """Follows a world's steps, and believes what it can check."""

    start_us: int
    documents: dict[str, Document | None] = field(default_factory=dict)
    accounts: dict[str, Known] = field(default_factory=dict)
    seqs: dict[tuple[int, int], int] = field(default_factory=dict)
    frame: Frame | None = None
    """The last one that could be decoded."""

    def see(self, step: Step) -> set[str]:
        """What is wrong with it, in a word for each."""
        if isinstance(step, DocumentChange):
            self.documents[step.did] = step.document
            return set()
        self.frame = None
        try:
            decoded = self.frame = frame.decode(step.wire)
        except FrameError:
            return {"frame"}
        if decoded.kind in (FrameKind.INFO, FrameKind.ERROR):
            assert decoded.kind == step.kind
            (events.parse_info if decoded.kind is FrameKind.INFO else events.parse_error)(decoded)
            return {decoded.kind}
        wrong = self._seq(step, decoded)
        if decoded.kind is FrameKind.UNKNOWN:
            return wrong | {"unknown"}
        assert (decoded.kind, decoded.did, decoded.body.get("rev")) == (step.kind, step.did, step.rev)
        try:
            _PARSERS[decoded.kind](decoded)
        except EventInvalidError:
            wrong.add("event")
        known = self.accounts.setdefault(step.did, Known())
        wrong |= self._authority(step, decoded, known)
        if decoded.kind is FrameKind.ACCOUNT:
            if not wrong:
                event = events.parse_account(decoded)
                known.active, known.status = event.active, event.status
            return wrong
        return wrong if decoded.kind is FrameKind.IDENTITY else wrong | self._repository(decoded, known, wrong)

    def _seq(self, step: Emission, decoded: Frame) -> set[str]:
        assert decoded.seq == step.seq
        place = (step.host, step.epoch)
        before = self.seqs.get(place, 0)
        self.seqs[place] = step.seq
        return set() if step.seq == before + 1 else {"seq"}

    def _authority(self, step: Emission, decoded: Frame, known: Known) -> set[str]:
        wrong = set()
        document = self.documents.get(step.did)
        if document is None:
            if decoded.kind is not FrameKind.IDENTITY:  # which needs no authority
                wrong.add("unresolvable")
        elif document.host != step.host:
            wrong.add("host")
        if not known.active and decoded.kind in (FrameKind.COMMIT, FrameKind.SYNC):
            wrong.add("inactive")
        return wrong

    def _repository(self, decoded: Frame, known: Known, before: set[str]) -> set[str]:
        body, wrong = decoded.body, set()
        try:
            slice_ = car.parse(_bytes(body["blocks"]))
            signed = commit.decode(slice_.blocks[slice_.roots[0]], did=decoded.did, rev=str(body["rev"]))
        except (InvalidDataError, LookupError):  # no slice, or one without its commit
            return {"blocks"}
        if (signed.did, signed.rev, signed.prev) != (decoded.did, body["rev"], None):
            wrong.add("fields")
        document = self.documents.get(decoded.did)
        if document is not None:
            key = keys.parse_did_key(document.did_key)
            if not key.verify(signed.sig, signed.unsigned):
                wrong.add("signature")
        if decoded.kind is FrameKind.SYNC:
            assert list(slice_.blocks) == [slice_.roots[0]] or len(_bytes(body["blocks"])) > SYNC_BLOCKS_BYTES_MAX
            if known.commit == slice_.roots[0]:
                wrong.add("repeated")
            elif known.rev is not None and signed.rev <= known.rev:
                wrong.add("rev")
        else:
            wrong |= _commit(body, slice_, signed, known)
        if syntax.tid_time_us(signed.rev) > self.start_us + YEAR_US:
            wrong.add("future")
        if not (wrong | before) - {"gap"}:
            known.rev, known.data, known.commit = signed.rev, signed.data, slice_.roots[0]
        return wrong


def _commit(body: dict[str, object], slice_: car.Car, signed: commit.Commit, known: Known) -> set[str]:
    wrong = set()
    if body["commit"] != slice_.roots[0]:
        wrong.add("fields")
    if known.rev is not None and signed.rev <= known.rev:
        wrong.add("rev")
    previous = body.get("prevData")
    if previous is None and body["since"] is not None:
        wrong.add("no prevData")
        previous = known.data
    if body["since"] != known.rev or previous != known.data:
        wrong.add("gap")
    ops = _operations(body)
    records = [slice_.blocks.get(op.cid) for op in ops if op.cid is not None]
    if any(record is None or len(record) > RECORD_BYTES_MAX for record in records):
        wrong.add("records")
    try:
        root = sync11.invert(signed.data, slice_.blocks, ops)
    except InvalidDataError:
        wrong.add("proof")
    else:
        if root != (previous or mst.EMPTY_ROOT):
            wrong.add("proof")
    return wrong


def _operations(body: dict[str, object]) -> list[RepoOp]:
    """With unknown actions taken for what they look like."""
    ops = body["ops"]
    assert isinstance(ops, list)
    return [
        RepoOp(op["action"] if op["action"] in events.ACTIONS else "create", op["path"], op["cid"], op.get("prev"))
        for op in ops
    ]


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value
