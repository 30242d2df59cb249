"""Recorded streams, made into a folder that can be served as one that was signed ahead.

A recording: for each host a file of repeated `[u32 big-endian length][frame]`, and `dids.json`, an object of DIDs, each
with `didDoc`, `keyHistory`, and for did:plc the directory's `auditLog`. The documents name the hosts of the recording;
here each becomes the host that replays its stream.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from heapq import merge
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import cbor2

from tools.simulator.ahead.streams import Manifest, write
from tools.simulator.model import Document, DocumentChange, Emission, Intent, Step
from tools.simulator.servers.documents import WEB_DID

FRAME_BYTES_MAX: Final = 5_000_000
DIDS: Final = "dids.json"
_TOMBSTONE: Final = "plc_tombstone"


class Documents(StrEnum):
    """Which state of the DID documents the directory serves."""

    LAST = "last"
    """That of the end, from the beginning: whoever reads the stream from its start long after."""
    OF_THE_TIME = "of_the_time"
    """Each as it was, from the place in the streams where it was made."""


class CorpusError(ValueError):
    """Not a recording."""


def import_corpus(files: Sequence[Path], dids: Path, folder: Path, documents: Documents) -> Manifest:
    """`files`: one for each host, in order. Raises CorpusError, OSError."""
    accounts: dict[str, Any] = json.loads(dids.read_bytes())
    hosts = _hosts_by_origin(accounts, files)
    changes = sorted(_changes(accounts, hosts), key=lambda item: item[0])
    if documents is Documents.LAST:
        last = {change.did: change for _, change in changes}
        changes = [("", change) for change in last.values()]
    streams = (_emissions(file, host) for host, file in enumerate(files))
    steps: Iterable[tuple[str, Step]] = merge(changes, *streams, key=lambda item: item[0])
    web_dids = [did for did in accounts if did.startswith(WEB_DID)]
    return write(folder, len(files), (step for _, step in steps), web_dids)


def read_frames(file: Path) -> Iterator[bytes]:
    """One at a time. Raises CorpusError."""
    with file.open("rb") as source:
        while head := source.read(4):
            length = int.from_bytes(head, "big")
            frame = source.read(length) if length <= FRAME_BYTES_MAX else b""
            if len(head) < 4 or not frame or len(frame) < length:
                raise CorpusError(f"{file}: torn, or no recording, before byte {source.tell()}")
            yield frame


def _emissions(file: Path, host: int) -> Iterator[tuple[str, Emission]]:
    """With the time of each frame, or that of the one before it where that is later: a stream has one order."""
    seq, time = 0, ""
    for wire in read_frames(file):
        stream = BytesIO(wire)
        decoder = cbor2.CBORDecoder(stream)
        try:
            header, body = decoder.decode(), decoder.decode()
            kind, seq = header.get("t", "error"), body.get("seq", seq)
        except (cbor2.CBORDecodeError, AttributeError) as error:
            raise CorpusError(f"{file}: a frame behind seq {seq} can't be read: {error}") from error
        time = max(time, str(body.get("time", "")))
        did = str(body.get("repo") or body.get("did") or "")
        yield time, Emission(host, 0, seq, wire, kind, did, body.get("rev"), Intent.GOOD)


def _hosts_by_origin(accounts: Mapping[str, Any], files: Sequence[Path]) -> dict[str, int]:
    """Which origin of the recording is which host: the one whose stream has most of its keys' events."""
    names = {file.stem: host for host, file in enumerate(files)}
    votes: dict[str, Counter[int]] = {}
    for account in accounts.values():
        for key in account["keyHistory"]:
            counter = votes.setdefault(key["pds"], Counter())
            for name, seen in key.get("seen", {}).items():
                if name in names:
                    counter[names[name]] += seen["n"]
    found = {origin: counter.most_common(1)[0][0] for origin, counter in votes.items() if counter}
    if len(set(found.values())) != len(found):
        raise CorpusError(f"which stream is which host's? {found}")
    return found


def _changes(accounts: Mapping[str, Any], hosts: Mapping[str, int]) -> Iterator[tuple[str, DocumentChange]]:
    for did, account in accounts.items():
        if "auditLog" in account:
            yield from _logged_changes(did, account["auditLog"], hosts)
        else:
            for key in account["keyHistory"]:
                host = hosts.get(key["pds"])
                if host is not None:
                    document = Document(account["handle"], key["didKey"], host)
                    yield key.get("createdAt") or "", DocumentChange(did, document)


def _logged_changes(
    did: str, log: Sequence[Mapping[str, Any]], hosts: Mapping[str, int]
) -> Iterator[tuple[str, DocumentChange]]:
    """Operations that named a host outside of the recording are left out."""
    for entry in log:
        operation, created_at = entry["operation"], entry["createdAt"]
        if entry["nullified"]:
            continue
        if operation["type"] == _TOMBSTONE:
            yield created_at, DocumentChange(did, None)
            continue
        host = hosts.get(operation["services"]["atproto_pds"]["endpoint"])
        if host is not None:
            handle = operation["alsoKnownAs"][0].removeprefix("at://")
            yield created_at, DocumentChange(did, Document(handle, operation["verificationMethods"]["atproto"], host))
