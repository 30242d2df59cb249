"""Admission and the pipeline: what becomes of one frame of one host.

Owns: the order of the checks, the closed list of reasons for a drop, the account states that are ahead of
SQL, host authority, parking, and the low-water mark of a host. Refuses to own: loops and queues that run
(`workers`), sockets (`net`), seqs and disk (`eventlog`), SQL text (`state`).
"""
