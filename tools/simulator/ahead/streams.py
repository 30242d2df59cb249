"""Streams that were signed ahead: a folder of ready bytes, made once, sent as often as wanted.

    host-0000.frames   the host's WebSocket messages, one behind the other
    host-0000.index    for each, its seq and where it ends: two little-endian unsigned 64-bit numbers
    order              for each frame of all hosts, in the order of the world, its host: 16 bits
    documents.jsonl    what the directory has to say from when on (`PlacedChange`)
    stream.json        written last: a folder without it is not complete
    ledger.jsonl       what was meant by each frame, where a ledger was asked for

Nothing is repeated, and every event follows from the one before it: the folder has as many events as were signed.
"""

import json
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from tools.simulator.model import Document, DocumentChange, Emission, Intent, Step
from tools.simulator.servers import websocket
from tools.simulator.servers.frame_store import FRAMES_SUFFIX, INDEX_SUFFIX
from tools.simulator.servers.network import LedgerLike

FORMAT: Final = 1
HOSTS_MAX: Final = 65_536
"""What 16 bits can tell apart."""
ORDER: Final = "order"
DOCUMENTS: Final = "documents.jsonl"
MANIFEST: Final = "stream.json"
LEDGER: Final = "ledger.jsonl"
_INDEX_ENTRY: Final = struct.Struct("<QQ")
_ORDER_ENTRY: Final = struct.Struct("<H")

assert sys.byteorder == "little", "index and order are mapped as they lie in memory"


class StreamFolderError(ValueError):
    """Not a complete folder of this format."""


@dataclass(frozen=True, slots=True)
class PlacedChange:
    """A change of a document, due when these hosts have sent so many frames each.

    The hosts are those that the DID's document names before (or named before a tombstone) and after: none of them goes
    on before the change is made, and the others have nothing to do with it.
    """

    change: DocumentChange
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """`epochs`: for each host, the place of every epoch's first frame. `byte_count`: of all messages with heads."""

    frames: tuple[int, ...]
    epochs: tuple[tuple[int, ...], ...]
    web_dids: tuple[str, ...]
    byte_count: int

    @property
    def events(self) -> int:
        return sum(self.frames)


class StreamWriter:
    """Takes the steps of a world in order. A context manager: the folder is complete after an exit without error."""

    def __init__(
        self, folder: Path, hosts: int, web_dids: Iterable[str] = (), ledger: LedgerLike | None = None
    ) -> None:
        """Raises FileExistsError where a complete folder is already."""
        if not 0 < hosts <= HOSTS_MAX:
            raise ValueError(f"{hosts} hosts: not within 1 to {HOSTS_MAX}")
        if (folder / MANIFEST).exists():
            raise FileExistsError(f"{folder} has a signed stream already")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ledger = ledger
        self._web_dids = tuple(web_dids)
        self._files = ExitStack()
        self._frames = [self._create(frames_path(folder, host)) for host in range(hosts)]
        self._indexes = [self._create(frames_path(folder, host).with_suffix(INDEX_SUFFIX)) for host in range(hosts)]
        self._order = self._create(folder / ORDER)
        self._documents = self._create(folder / DOCUMENTS)
        self._counts = [0] * hosts
        self._ends = [0] * hosts
        self._epochs: list[list[int]] = [[0] for _ in range(hosts)]
        self._epoch: list[int | None] = [None] * hosts
        self._named: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()
        if kind is None:
            text = json.dumps({"format": FORMAT, **_fields(self._manifest())})
            (self._folder / MANIFEST).write_text(text + "\n")

    @property
    def events(self) -> int:
        return sum(self._counts)

    def write(self, step: Step) -> None:
        if self._ledger is not None:
            self._ledger.append(step)
        if isinstance(step, Emission):
            self._emission(step)
        else:
            self._change(step)

    def _emission(self, emission: Emission) -> None:
        host = emission.host
        if self._epoch[host] not in (None, emission.epoch):
            self._epochs[host].append(self._counts[host])
        self._epoch[host] = emission.epoch
        message = websocket.message(emission.wire, text=emission.intent is Intent.TEXT)
        self._frames[host].write(message)
        self._ends[host] += len(message)
        self._counts[host] += 1
        self._indexes[host].write(_INDEX_ENTRY.pack(emission.seq, self._ends[host]))
        self._order.write(_ORDER_ENTRY.pack(host))

    def _change(self, change: DocumentChange) -> None:
        document = change.document
        named = {self._named.get(change.did), document.host if document else None}
        concerned = sorted(host for host in named if host is not None)
        if document is not None:
            self._named[change.did] = document.host  # and stays after a tombstone, so that two changes keep their order
        line = {
            "did": change.did,
            "places": [[host, self._counts[host]] for host in concerned],
            "document": document and {"handle": document.handle, "didKey": document.did_key, "host": document.host},
        }
        self._documents.write(json.dumps(line).encode() + b"\n")

    def _create(self, path: Path) -> BinaryIO:
        return self._files.enter_context(path.open("wb"))

    def _manifest(self) -> Manifest:
        epochs = tuple(map(tuple, self._epochs))
        return Manifest(tuple(self._counts), epochs, self._web_dids, sum(self._ends))


def write(folder: Path, hosts: int, steps: Iterable[Step], web_dids: Iterable[str] = ()) -> Manifest:
    """All steps into a new folder."""
    with StreamWriter(folder, hosts, web_dids) as writer:
        for step in steps:
            writer.write(step)
    return read_manifest(folder)


def frames_path(folder: Path, host: int) -> Path:
    return folder / f"host-{host:04}{FRAMES_SUFFIX}"


def read_manifest(folder: Path) -> Manifest:
    """Raises StreamFolderError."""
    try:
        fields = json.loads((folder / MANIFEST).read_text())
        if fields["format"] != FORMAT:
            raise StreamFolderError(f"{folder}: format {fields['format']}, not {FORMAT}")
        return Manifest(
            tuple(fields["frames"]),
            tuple(map(tuple, fields["epochs"])),
            tuple(fields["webDids"]),
            fields["bytes"],
        )
    except FileNotFoundError:
        raise StreamFolderError(f"{folder}: no {MANIFEST}, so nothing was signed here, or not to its end") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StreamFolderError(f"{folder / MANIFEST}: {error!r}") from None


def read_changes(folder: Path) -> Iterator[PlacedChange]:
    """In order. One line in memory at a time."""
    with (folder / DOCUMENTS).open("rb") as file:
        for line in file:
            yield parse_change(line)


def parse_change(line: bytes) -> PlacedChange:
    fields = json.loads(line)
    named = fields["document"]
    document = named and Document(named["handle"], named["didKey"], named["host"])
    places = tuple((host, place) for host, place in fields["places"])
    return PlacedChange(DocumentChange(fields["did"], document), places)


def _fields(manifest: Manifest) -> dict[str, object]:
    return {
        "frames": manifest.frames,
        "epochs": manifest.epochs,
        "webDids": manifest.web_dids,
        "bytes": manifest.byte_count,
    }
