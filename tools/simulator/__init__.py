"""An AT Protocol network on loopback: hosts, accounts, a PLC directory, and everything that goes wrong in them.

Owns: making events that are really signed and really proven, and bad ones of every kind, the same bytes for the same
seed (`worlds`, `faults`); sending them over real sockets, with transport faults on command (`servers`); sending what
was signed ahead faster than anything can sign, or what was recorded (`ahead`); and saying what must come out of a relay
(`oracle`).

Refuses to own: any line of the relay's. Trees, proofs, signatures and CBOR are made here by other code than the one
that checks them there, so that one mistake can't hide itself; nothing here imports `zlay_py`, and `zlay_py` imports
nothing from here. Nor does it listen anywhere but on 127.0.0.1, or ask the world outside anything.

`python -m tools.simulator --help` names the commands.
"""
