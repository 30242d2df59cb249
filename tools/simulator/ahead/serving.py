"""Serves a folder that was signed ahead: hosts, directory and did:web servers, and no frame is made any more."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import gevent

from tools.simulator.ahead.gates import Gates
from tools.simulator.ahead.pacing import Pacer, check_rate
from tools.simulator.ahead.streams import frames_path, read_manifest
from tools.simulator.servers.feed import Feed
from tools.simulator.servers.frame_store import FrameStore
from tools.simulator.servers.network import Network


class Serving:
    """A network that sends what is in `folder`.

    Nothing is sent before `play`. With a rate, the hosts emit at that rate whether somebody listens or not; without
    one, each emits as its consumer reads. Raises StreamFolderError, ValueError, OSError.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tls: bool = False,
        base_port: int = 0,
        web_dids: Sequence[str] | None = None,
        settle_s: float = 0.0,
    ) -> None:
        """`web_dids`: those to be served, where it is not all of the folder's. `settle_s`: see `Gates`."""
        self.manifest = read_manifest(folder)
        self.feeds = [
            Feed(FrameStore.open(frames_path(folder, host)), list(epochs), signed_ahead=True)
            for host, epochs in enumerate(self.manifest.epochs)
        ]
        served = self.manifest.web_dids if web_dids is None else web_dids
        self.network = Network(len(self.feeds), web_dids=served, tls=tls, base_port=base_port, feeds=self.feeds)
        self._gates = Gates(folder, self.feeds, self.network.change_document, settle_s=settle_s)
        self._pacer = Pacer(folder, self.feeds)
        self._starting: gevent.Greenlet[[float | None], None] | None = None

    @property
    def sent(self) -> int:
        """Frames that somebody was sent, of all hosts."""
        return sum(feed.sent for feed in self.feeds)

    def __enter__(self) -> Self:
        self._gates.start()
        self.network.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._starting is not None:
            self._starting.kill()
        self._pacer.close()
        self._gates.close()
        self.network.stop()

    def play(self, rate: float | None = None) -> None:
        """Now; `rate` in events per second over all hosts. Again: from now on at another rate. Raises ValueError."""
        if self._starting is not None:
            self._starting.kill()
        self._pacer.play(rate)

    def play_when_connected(self, rate: float | None = None) -> None:
        """As soon as every host has had a subscription: one without a cursor then misses nothing. Raises ValueError."""
        check_rate(rate)
        self._starting = gevent.spawn(self._wait_and_play, rate)

    def state(self) -> dict[str, object]:
        return {
            "events": self.manifest.events,
            "released": self._pacer.released,
            "sent": self.sent,
            "rate": self._pacer.rate,
            "documents": self._gates.count,
            "documentsMade": self._gates.made,
        }

    def _wait_and_play(self, rate: float | None) -> None:
        self.network.wait_connected()
        self._starting = None
        self._pacer.play(rate)
