"""The ledger's file: whole lines, whatever happens to the writer; and what makes two frames one event."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sim_stories import DID, OTHER, PerfectRelay, Story, frame, parts
from tools.simulator.model import Document, DocumentChange, Emission, Intent
from tools.simulator.oracle import normalise
from tools.simulator.oracle.ledger import Entry, Ledger, Mark
from tools.simulator.oracle.normalise import difference, peek, read
from tools.simulator.worlds.world import HOSTILE, World, WorldConfig

ROOT = Path(__file__).resolve().parents[2]


def test_what_is_read_is_what_was_put_down(tmp_path: Path) -> None:
    world = World(WorldConfig())
    steps = [*world.documents(), *world.run(300, mix=HOSTILE)]
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        for step in steps[:50]:
            ledger.append(step)
        for mark in (ledger.settled, ledger.restarted, ledger.directory_down, ledger.directory_up):
            mark()
        ledger.extend(steps[50:])
        ledger.append(DocumentChange(DID, None))
    again = Ledger.load(path)
    assert again.lines == ledger.lines
    assert again.lines[50:54] == list(Mark)
    assert len(ledger.entries) == sum(isinstance(step, Emission) for step in steps)


def test_a_torn_line_does_not_count_and_is_cut_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        ledger.append(DocumentChange(DID, Document("a.test", "did:key:z", 0)))
        ledger.settled()
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert Ledger.load(path).lines == ledger.lines[:1]
    with Ledger(path) as ledger:
        ledger.settled()
    assert path.read_bytes().count(b"\n") == 2
    assert Ledger.load(path).lines == ledger.lines


def test_a_line_that_is_whole_and_makes_no_sense_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b'{"mark":"settled"}\n{"mark":"never"}\n')
    with pytest.raises(ValueError, match="line 2"):
        Ledger.load(path)


def test_a_killed_writer_leaves_all_that_it_put_down(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    program = (
        "from pathlib import Path; from tools.simulator.oracle.ledger import Ledger\n"
        "from tools.simulator.model import DocumentChange\n"
        f"ledger = Ledger(Path({str(path)!r}))\n"
        "for number in range(1000): ledger.append(DocumentChange(str(number), None))\n"
        "print('done', flush=True)\n"
        "while True: ledger.append(DocumentChange('more', None))\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"done\n"
    meanwhile = Ledger.load(path)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert len(meanwhile.lines) >= 1000
    lines = Ledger.load(path).lines
    assert lines[: len(meanwhile.lines)] == meanwhile.lines


def test_the_last_seqs_are_those_that_a_relay_has_to_reach() -> None:
    story = Story()
    story.introduce(DID, 0)
    story.commit(intent=Intent.BAD_SIGNATURE)
    story.commit(intent=Intent.SEQ_REPEATED)
    story.junk(Intent.POISON)
    story.commit(intent=Intent.UNKNOWN_TYPE)
    story.introduce(OTHER, 1)
    assert story.ledger.last_seqs() == {0: 4, 1: 3}
    story.reset()
    story.commit()
    assert story.ledger.last_seqs() == {0: 1, 1: 3}


# --- one event, whatever its seq


def commit(**fields: object) -> Emission:
    return Story().commit(**fields)  # type: ignore[arg-type]


def test_seq_and_what_each_hop_makes_itself_is_not_the_event() -> None:
    story = Story()
    relay = PerfectRelay(first_seq=1 << 40)
    bare = story.commit(blobs=..., rebase=..., tooBig=..., intent=Intent.BARE)
    for emission in (bare, story.identity(handle="a.test"), story.account(), story.sync()):
        came = relay.send(emission)
        assert came.wire != emission.wire
        assert read(came.wire).digest == read(emission.wire).digest
        assert peek(came.wire) == (emission.kind, came.seq)
        assert read(came.wire).seq == came.seq
    assert read(bare.wire).missing == ("blobs", "rebase", "tooBig")


@given(st.data())
def test_any_other_byte_is(data: st.DataObject) -> None:
    wire = commit(extra={"a": [1, None, "text"]}).wire
    at = data.draw(st.integers(0, len(wire) - 1))
    changed = wire[:at] + bytes([wire[at] ^ data.draw(st.integers(1, 255))]) + wire[at + 1 :]
    before, after = read(wire), read(changed)
    assert before.digest != after.digest or before.seq != after.seq or after.faults


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(noise: bytes) -> None:
    for wire in (noise, normalise.HEADERS["#commit"] + noise):
        read(wire)
        peek(wire)


def test_nesting_and_lengths_without_end_are_junk() -> None:
    header = normalise.HEADERS["#identity"]
    for payload in (
        b"\x81" * 100_000 + b"\x00",
        b"\xa1\x61a" * 50_000,
        b"\xbf\xff",
        b"\x5b" + b"\x7f" * 8,
        b"\xa1\x61a",
    ):
        assert read(header + payload).kind == "junk"


def test_the_order_of_the_fields_counts() -> None:
    header, payload = parts(commit().wire)
    items = sorted(payload, key=lambda name: (len(name), name))
    assert read(frame(header, payload)).faults == ()
    swapped = [items[1], items[0], *items[2:]]
    wire = cbor2.dumps(header, canonical=True) + cbor2.dumps({name: payload[name] for name in swapped})
    event = read(wire)
    assert event.digest != read(frame(header, payload)).digest
    assert "the payload's keys are not in canonical order" in event.faults


def test_what_differs_is_named() -> None:
    one, other = commit(), commit(blocks=b"", more=1, prevData=...)
    assert difference(read(one.wire), read(other.wire)) == (3, "blocks, -prevData, +more")


def test_a_message_without_a_seq_has_a_fault() -> None:
    header, payload = parts(commit().wire)
    del payload["seq"]
    assert read(frame(header, payload)).faults == ("no seq",)


def test_names_of_stream_messages() -> None:
    assert read(frame({"op": -1}, {"error": "FutureCursor"}))[0:2] == ("error", "")
    assert read(frame({"op": -1}, {"error": "FutureCursor"})).message == "FutureCursor"
    assert read(frame({"op": 1, "t": "#info"}, {"name": "OutdatedCursor"})).message == "OutdatedCursor"
    assert read(frame({"op": 2, "t": "#commit"}, {})).kind == "junk"


def test_an_entry_says_what_it_is() -> None:
    story = Story()
    story.commit(intent=Intent.OLD_KEY)
    entry = story.ledger.lines[0]
    assert isinstance(entry, Entry)
    assert str(entry) == f"host 0 epoch 0 seq 1 #commit {DID} rev 3k00000000001 (old_key)"
