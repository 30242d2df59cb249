"""The bytes on the disk, as files: whoever changes them changes what older programs wrote.

`ZLAY_UPDATE_GOLDEN=1` writes them anew, for a change of format that is meant, with a new version number.
"""

import os
from pathlib import Path

import pytest

from tests.eventlog.builders import DIRECTORY, FakeClock, event, make_log, read_all, verdict
from tests.eventlog.memory_files import Inode, MemoryFiles
from zlay_py.eventlog.delta import Delta
from zlay_py.eventlog.record import RecordKind

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "eventlog"
DELTA = Delta(
    verified=True,
    relay_made=True,
    inverted=True,
    discontinuous=True,
    rev="3l5fexample22",
    commit=bytes(range(36)),
    data=bytes(range(36, 72)),
    upstream_status="deactivated",
    local_status="takendown",
    collections_added=("app.bsky.feed.post", "app.bsky.feed.like"),
    collections_removed=("app.bsky.graph.follow",),
    collections_undecided=("com.example.thing",),
)


def written() -> MemoryFiles:
    files, clock = MemoryFiles(), FakeClock()
    log = make_log(files=files, clock=clock, segment_bytes_max=400, salt=lambda: 0x01020304)
    log.open()
    log.append([event(1), event(2, kind=RecordKind.COMMIT, delta=DELTA, host_id=9, uid=2**40)])
    log.append([verdict(2, verified=False), event(3, kind=RecordKind.SYNC), event(4, kind=RecordKind.IDENTITY)])
    log.close()
    return files


@pytest.mark.parametrize("name", ["evts-1", "evts-1.idx", "evts-3", "seq-ceiling"])
def test_the_bytes_on_the_disk_are_what_they_were(name: str) -> None:
    found = bytes(written().names[name].current)
    path = GOLDEN / f"{name}.hex"
    if os.environ.get("ZLAY_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found.hex("\n", -32) + "\n")
    assert bytes.fromhex(path.read_text()) == found


def test_the_stored_log_can_be_read() -> None:
    files = MemoryFiles()
    for path in GOLDEN.glob("*.hex"):
        content = bytes.fromhex(path.read_text())
        files.names[path.stem] = Inode(bytearray(content), [content])
    files.fsync_dir(DIRECTORY)
    log = make_log(files=files)
    assert log.open().next_seq == 6
    records = read_all(log)
    assert [(record.seq, record.kind) for record in records] == [
        (1, RecordKind.ACCOUNT),
        (2, RecordKind.COMMIT),
        (3, RecordKind.VERDICT),
        (4, RecordKind.SYNC),
        (5, RecordKind.IDENTITY),
    ]
    assert records[1].delta == DELTA
    assert (records[2].judged_seq, records[2].delta.verified) == (2, False)
