"""The composition root: builds every object of the relay once, in the order in which an event meets them; starts and
stops them.

Owns: who is given what, the order of the start, the order of the stop. Refuses to own: any behaviour of the parts.
`relay.Relay` is where to start reading; `storage` opens what is on the disk, `ingest` builds what is between the
hosts' sockets and the log, `ending` is the stop, `seams` is what tests hand in.
"""

from zlay_py.runtime.relay import Relay
from zlay_py.runtime.seams import Seams

__all__ = ["Relay", "Seams"]
