"""Who a DID is: its signing key and its host, asked of the PLC directory or of the DID's own web server, and kept.

Owns: what a look-up can answer, coalescing and bounding look-ups, the cache in memory, when an answer is stale.
Refuses to own: where answers are kept for the next start (the `IdentityStore` it is given), which frames wait for an
answer (`workers.resolver_pool`, `ingest`), handles: a relay does not check them.
"""
