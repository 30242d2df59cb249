"""Every signature of the recorded corpus, against the history of its account's keys."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from zlay_py.atproto import car, commit, events, frame, keys
from zlay_py.atproto.frame import FrameKind
from zlay_py.atproto.keys import Curve

pytestmark = pytest.mark.needs_fixtures


def test_all_4024_signatures_verify_with_the_key_of_their_time(fixtures_dir: Path) -> None:
    dids: dict[str, Any] = json.loads((fixtures_dir / "corpus" / "dids.json").read_text())
    verified: Counter[Curve] = Counter()
    for name in ("pds0", "pds1"):
        data, position = (fixtures_dir / "corpus" / f"{name}.frames").read_bytes(), 0
        while position < len(data):
            end = position + 4 + int.from_bytes(data[position : position + 4], "big")
            decoded = frame.decode(data[position + 4 : end])
            position = end
            if decoded.kind is FrameKind.COMMIT:
                event: events.CommitEvent | events.SyncEvent = events.parse_commit(decoded)
            elif decoded.kind is FrameKind.SYNC:
                event = events.parse_sync(decoded)
            else:
                continue
            slice_ = car.parse(event.blocks)
            signed = commit.decode(slice_.blocks[slice_.roots[0]], did=event.did, rev=event.rev)
            assert signed.did == event.did
            history = dids[event.did]["keyHistory"]
            fitting = [
                item
                for item in history
                if keys.parse_did_key(item["didKey"]).verify(signed.sig, signed.unsigned)
                and item["seen"][name]["firstSeq"] <= decoded.seq <= item["seen"][name]["lastSeq"]
            ]
            assert fitting, f"{name} seq {decoded.seq}"
            verified[keys.parse_did_key(fitting[0]["didKey"]).curve] += 1
    assert verified == {Curve.K256: 3908, Curve.P256: 116}
