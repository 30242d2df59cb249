"""The hosts' streams, as far as numbers go: each frame gets its host's next seq, and the time of the world's clock."""

from collections.abc import Mapping

from tools.simulator.model import Emission, Intent
from tools.simulator.times import VirtualClock, timestamp
from tools.simulator.worlds import frames


class Outlets:
    """Makes emissions. `seqs` and `epochs`: of each host, the seq given last and how often it has begun anew."""

    def __init__(self, hosts: int, clock: VirtualClock) -> None:
        self.clock = clock
        self.seqs = [0] * hosts
        self.epochs = [0] * hosts

    def say(
        self,
        host: int,
        kind: str,
        fields: Mapping[str, object],
        *,
        intent: Intent = Intent.GOOD,
        header: Mapping[str, object] | None = None,
        seq_again: bool = False,
    ) -> Emission:
        """A message. It gets the time of now unless it has one. `header`: another one than that of the kind.

        `seq_again`: with the seq of the frame before it.
        """
        if not seq_again:
            self.seqs[host] += 1
        seq = self.seqs[host]
        payload = {**fields, "seq": seq}
        if "time" not in fields:
            payload["time"] = timestamp(self.clock.tick())
        wire = frames.message(kind, payload) if header is None else frames.message_with(header, payload)
        did, rev = fields.get("repo", fields.get("did")), fields.get("rev")
        assert isinstance(did, str)
        assert rev is None or isinstance(rev, str)
        return Emission(host, self.epochs[host], seq, wire, kind if header is None else frames.JUNK, did, rev, intent)

    def put(self, host: int, wire: bytes, *, intent: Intent, kind: str = frames.JUNK) -> Emission:
        """Ready bytes that carry no seq of their own: they stand where the frame before them stands."""
        return Emission(host, self.epochs[host], self.seqs[host], wire, kind, "", None, intent)

    def reset(self, host: int, first: int = 1) -> None:
        """The host begins to count anew, from `first` on."""
        self.epochs[host] += 1
        self.seqs[host] = first - 1
