"""Frames that wait: in their order, and for how long."""

from tests.support.repo import Repo, did_plc, with_seq
from zlay_py.atproto import frame
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.outcome import Need
from zlay_py.ingest.parking import WAIT_S_MAX, Parking
from zlay_py.ingest.work import HostContext, Work

HOST = HostContext(1, "pds.example.com", 0, LowWater(None))


def work(seq: int) -> Work:
    return Work(HOST, HOST.water, frame.decode(with_seq(Repo(did_plc(1)).account(), seq)), 1)


def test_only_who_waits_for_others_gives_up() -> None:
    """A resolver may fail. Our own database must not cost an event, however long it is away."""
    parking = Parking()
    for did, need in (("did:a", Need.IDENTITY), ("did:b", Need.DATABASE), ("did:c", Need.REFRESH)):
        parking.open(did, need, work(1), now_s=100.0)
    assert parking.expired(99.9 + WAIT_S_MAX) == []
    assert parking.expired(100.0 + WAIT_S_MAX) == ["did:a", "did:c"]
    parking.wait_for_database("did:c")
    assert parking.expired(100.0 + 3_600) == ["did:a"]
    assert parking.for_database() == ["did:b", "did:c"]


def test_who_has_its_answer_waits_for_its_lane_only() -> None:
    """Which our own database may hold up, and that costs no event."""
    parking = Parking()
    parking.open("did:a", Need.IDENTITY, work(1), now_s=100.0)
    parking.open("did:b", Need.REFRESH, work(1), now_s=100.0)
    assert parking.answers("did:a", HOST.name, refreshed=False)
    assert not parking.answers("did:b", HOST.name, refreshed=False)
    assert parking.expired(100.0 + WAIT_S_MAX) == ["did:b"]


def test_frames_are_taken_in_the_order_in_which_they_came() -> None:
    parking = Parking()
    parking.open("did:a", Need.IDENTITY, work(1), now_s=1.0)
    for seq in (2, 3):
        parking.add("did:a", work(seq))
    assert parking.frames == 3
    assert [parked.frame.seq for parked in parking.take("did:a")] == [1, 2, 3]
    assert (parking.frames, parking.take("did:a")) == (0, [])
