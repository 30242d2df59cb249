"""The append-only event log: the truth about events. Everything else in the relay follows it.

Owns: the files `evts-<first seq>` and their sparse indexes, the sequence numbers and the ceiling file that
keeps them from ever being given twice, the lock on the data directory, and the in-memory tail that serves
the live edge as ready WebSocket bytes.

Refuses to own: what an event means. A payload is bytes with a hole for the seq, a state delta is carried and
never applied, and nobody is asked whether an event is valid. There is no loop here either: the log writer,
retention and the consumers are somebody else's greenlets, and the log is called by them.

Where to start reading: `log.EventLog`. The order that all of it rests on is written → durable → published to
the tail → seqs given back; a reader never sees a record before that, so a batch that fails was never seen.

Importing this package, and the parts of it that only decide (`record`, `delta`, `recovery`, `ceiling`,
`retention`), does not import gevent.
"""
