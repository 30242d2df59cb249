"""Owns: hosts and directories that listen on loopback, and the faults of transport that they show on command.
Refuses to own: making events, and judging what becomes of them.
"""
