"""Frames and emissions by hand, for tests of what only carries them."""

import cbor2

from tools.simulator.model import Emission, Intent

WAIT_S_MAX = 20.0


def wire(seq: int, text: str = "", size: int = 0) -> bytes:
    """A frame that a consumer can read; `size` more bytes in it."""
    body = {"seq": seq, "repo": f"did:plc:{text}", "rev": text, "blocks": bytes(size)}
    return cbor2.dumps({"t": "#commit", "op": 1}) + cbor2.dumps(body)


def emission(
    seq: int, text: str = "", *, host: int = 0, epoch: int = 0, size: int = 0, intent: Intent = Intent.GOOD
) -> Emission:
    return Emission(host, epoch, seq, wire(seq, text, size), "#commit", f"did:plc:{text}", text, intent)


def emissions(count: int, *, host: int = 0, size: int = 0) -> list[Emission]:
    """Seqs 1 to `count`."""
    return [emission(seq, host=host, size=size) for seq in range(1, count + 1)]
