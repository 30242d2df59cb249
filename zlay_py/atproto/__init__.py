"""The AT Protocol as pure functions: bytes and text in, values or one of our errors out.

Owns: identifiers, CIDs, DAG-CBOR, CAR slices, commits, the Merkle search tree, public keys, DID documents
and stream frames. Whatever a peer may send is answered with a value or an `errors.InvalidDataError`,
in bounded time and memory.

Refuses to own: I/O, clocks and randomness. Nothing here opens a socket or a file, asks for the time, or
signs anything.
"""
