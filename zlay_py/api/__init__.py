"""HTTP: parse, call, shape the answer.

Owns: the Falcon resources and the one route table, error bodies, parameters. Refuses to own: any rule of the
protocol, any state, the firehose's WebSocket (`fanout`).
"""
