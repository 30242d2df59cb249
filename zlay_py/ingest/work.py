"""One host as the pipeline sees it, and one frame on its way."""

from dataclasses import dataclass, field

from gevent.event import Event

from zlay_py.atproto.frame import Frame
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.replay import Replay


@dataclass(slots=True)
class HostContext:
    """What frames of one host are judged by. `name` is the identity a DID document must name."""

    id: int
    name: str
    epoch: int
    water: LowWater
    sync11_mode: str | None = None
    """Per-host override of RELAY_SYNC11; None: the setting."""
    sends_prev_data: bool = False
    """It has sent `prevData` at least once since we started: the ratchet."""
    replay: Replay = field(default_factory=Replay)
    """Of what it sends again after our start: what was judged before, and must not be judged twice."""
    parked_bytes: int = 0
    """Of its frames that wait for an identity. Their own allowance: they must not use up what the others run on."""
    room: Event = field(default_factory=Event)
    """Set whenever a frame of this host was finished: its reader may be waiting for that."""


@dataclass(slots=True)
class Work:
    """A frame between socket and log."""

    host: HostContext
    water: LowWater
    frame: Frame
    received_us: int
    epoch: int = field(init=False)
    """Of the host when the frame was read: a cursor reset meanwhile does not make it one of the new stream."""
    identity_asked: bool = False
    """Its DID was resolved anew on behalf of this very frame: no second time."""
    identity_failed: bool = False
    """That resolution gave no answer, definite or not."""

    def __post_init__(self) -> None:
        self.epoch = self.host.epoch

    @property
    def size_bytes(self) -> int:
        return len(self.frame.payload)

    def done(self) -> None:
        """Durable or dropped: the host's mark may move over it."""
        self.water.done(self.frame.seq)
        self.host.room.set()
