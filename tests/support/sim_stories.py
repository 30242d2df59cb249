"""Histories for the judge: a world told by hand, and a relay that makes no mistake with it."""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import cbor2

from tools.simulator.model import Document, DocumentChange, Emission, Intent, Step
from tools.simulator.oracle.ledger import Ledger
from tools.simulator.oracle.readings import Received
from tools.simulator.oracle.rules import ACCEPTED

DEFAULTS = {"blobs": [], "rebase": False, "tooBig": False}
DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
OTHER = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"


def frame(header: dict[str, Any], payload: dict[str, Any]) -> bytes:
    return cbor2.dumps(header, canonical=True) + cbor2.dumps(payload, canonical=True)


def parts(wire: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    decoder = cbor2.CBORDecoder(BytesIO(wire))
    return decoder.decode(), decoder.decode()


def retell(one: Received, change: Callable[[dict[str, Any]], None]) -> Received:
    """The same seq with another payload."""
    header, payload = parts(one.wire)
    change(payload)
    return one._replace(wire=frame(header, payload), seq=payload["seq"])


class Story:
    """Puts down what hosts emit, one line after the other. Every event has a time of its own."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.emissions: list[Emission] = []
        self._seqs: dict[int, int] = {}
        self._epochs: dict[int, int] = {}
        self._time = 0

    def document(self, did: str = DID, host: int = 0, key: str = "key1") -> None:
        self._tell(DocumentChange(did, Document("someone.test", f"did:key:{key}", host)))

    def tombstone(self, did: str = DID) -> None:
        self._tell(DocumentChange(did, None))

    def reset(self, host: int = 0) -> None:
        self._epochs[host] = self._epochs.get(host, 0) + 1
        self._seqs[host] = 0

    def introduce(self, did: str = DID, host: int = 0) -> None:
        self.document(did, host)
        self.identity(did, host)
        self.account(did, host)
        self.commit(did, host)

    def commit(
        self, did: str = DID, host: int = 0, intent: Intent = Intent.GOOD, rev: str | None = None, **fields: Any
    ) -> Emission:
        rev = rev or f"3k{self._time + 1:011d}"
        payload = {
            "repo": did,
            "rev": rev,
            "since": None,
            "ops": [],
            "blocks": b"b" * 9,
            "prevData": b"data",
            **DEFAULTS,
        }
        payload |= fields
        return self._emit(host, "#commit", {k: v for k, v in payload.items() if v is not ...}, intent)

    def sync(self, did: str = DID, host: int = 0, intent: Intent = Intent.GOOD, rev: str | None = None) -> Emission:
        rev = rev or f"3k{self._time + 1:011d}"
        return self._emit(host, "#sync", {"did": did, "rev": rev, "blocks": b"b"}, intent)

    def account(
        self,
        did: str = DID,
        host: int = 0,
        intent: Intent = Intent.GOOD,
        active: bool = True,
        status: str | None = None,
    ) -> Emission:
        fields = {"did": did, "active": active} | ({} if status is None else {"status": status})
        return self._emit(host, "#account", fields, intent)

    def identity(
        self, did: str = DID, host: int = 0, intent: Intent = Intent.GOOD, handle: str | None = "someone.test"
    ) -> Emission:
        return self._emit(host, "#identity", {"did": did} | ({} if handle is None else {"handle": handle}), intent)

    def junk(self, intent: Intent, host: int = 0, wire: bytes = b"\xff") -> None:
        kind = {Intent.INFO: "#info", Intent.ERROR: "error"}.get(intent, "junk")
        self._tell(Emission(host, self._epochs.get(host, 0), self._seqs.get(host, 0), wire, kind, "", None, intent))

    def again(self, emission: Emission, intent: Intent = Intent.REPEATED, host: int | None = None) -> Emission:
        """The same event under the host's next seq."""
        _, payload = parts(emission.wire)
        return self._emit(emission.host if host is None else host, emission.kind, payload, intent)

    def _emit(self, host: int, kind: str, fields: dict[str, Any], intent: Intent) -> Emission:
        self._time += 1
        seq = self._seqs[host] = self._seqs.get(host, 0) + (intent is not Intent.SEQ_REPEATED)
        payload = {"time": f"2026-01-01T00:00:{self._time:08.3f}Z"} | fields | {"seq": seq}
        did = str(payload.get("repo") or payload.get("did"))
        wire = frame({"op": 1, "t": kind}, payload)
        epoch = self._epochs.get(host, 0)
        emission = Emission(host, epoch, seq, wire, kind, did, payload.get("rev"), intent)
        self._tell(emission)
        return emission

    def _tell(self, step: Step) -> None:
        self.ledger.append(step)
        if isinstance(step, Emission):
            self.emissions.append(step)


class PerfectRelay:
    """Passes on what is to be passed on, in the order of the world, as if it knew everything at once.

    `also`: intents that it passes on as well, as its settings may have it.
    """

    def __init__(self, also: Iterable[Intent] = (), first_seq: int = 1) -> None:
        self._passed = ACCEPTED | {Intent.FORGED_IDENTITY} | set(also)
        self._next_seq = first_seq
        self.accounts: dict[str, dict[str, Any]] = {}
        """What it would answer to getRepoStatus, by DID."""

    def take(self, steps: Iterable[Step]) -> list[Received]:
        return [self.send(step) for step in steps if isinstance(step, Emission) and step.intent in self._passed]

    def send(self, emission: Emission) -> Received:
        """Under the next seq, whatever it is."""
        header, payload = parts(emission.wire)
        payload["seq"] = seq = self._next_seq
        self._next_seq += 1
        payload.pop("handle", None)
        if emission.kind == "#commit":
            payload = DEFAULTS | payload
        if emission.kind != "#identity":
            known = self.accounts.setdefault(emission.did, {"did": emission.did, "active": True})
            if emission.kind == "#account":
                known["active"], known["status"] = payload["active"], payload.get("status")
            else:
                known["rev"] = payload["rev"]
        return Received(seq, emission.kind, frame(header, payload))
