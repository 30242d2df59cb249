"""The way out: consumers of the merged stream.

Owns: cursor rules, the loop of one consumer, the set of all consumers. A consumer is a cursor and a
greenlet; there is no queue per consumer. Refuses to own: the WebSocket itself (`net`), where events are
kept (`eventlog`), HTTP answers (`api`).
"""
