"""Records as WebSocket frames, against websocket-client's own encoder."""

import pytest
from websocket import ABNF

from tests.eventlog.builders import event, make_log, read_all, verdict
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.atproto.frame import HEADERS, FrameKind
from zlay_py.eventlog.record import RecordFlag, RecordKind
from zlay_py.eventlog.wire import frame_bytes, websocket_frame

KINDS = {
    RecordKind.COMMIT: FrameKind.COMMIT,
    RecordKind.SYNC: FrameKind.SYNC,
    RecordKind.IDENTITY: FrameKind.IDENTITY,
    RecordKind.ACCOUNT: FrameKind.ACCOUNT,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("total", [60, 125, 126, 127, 65_534, 65_535, 65_536, 200_000])
def test_a_frame_is_what_a_websocket_library_makes_of_it(kind: RecordKind, total: int) -> None:
    header = HEADERS[KINDS[kind]]
    payload = bytes(range(256)) * (total // 256 + 1)
    payload = payload[: total - len(header)]
    expected = ABNF(1, 0, 0, 0, ABNF.OPCODE_BINARY, 0, header + payload).format()
    assert websocket_frame(kind, payload) == expected


def test_a_verdict_has_no_frame() -> None:
    assert websocket_frame(RecordKind.VERDICT, b"12345678") == b""


def test_the_tail_and_the_segments_give_the_same_bytes() -> None:
    log = make_log(files=MemoryFiles())
    log.open()
    log.append([event(1), verdict(1), event(3, size=70_000)])
    hot = log._tail.read(1, 10**6)
    assert hot is not None
    assert log.read_chunk(1, bytes_max=10**6) == hot
    assert b"".join(map(frame_bytes, read_all(log))) == hot.data
    assert (hot.first_seq, hot.next_seq, hot.frames) == (1, 4, 2)


def test_a_record_that_is_taken_down_has_no_frame() -> None:
    log = make_log(files=MemoryFiles())
    log.open()
    log.append([event(1)])
    (record,) = read_all(log)
    record.flags = RecordFlag.TAKEDOWN
    assert frame_bytes(record) == b""
