"""Every long-running loop of the process, and the processes that carry them.

Owns: all loops, supervised and named, handed the objects they drive; the gunicorn worker and master hooks, the
plain gevent server, and the order of start and shutdown. Refuses to own: rules about events (`ingest`), storage
(`eventlog`, `state`, `index`), wire formats (`net`, `atproto`), HTTP routes (`api`) and who is built from what
(`runtime`).
"""
