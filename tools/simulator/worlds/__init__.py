"""Owns: accounts, their keys and repositories, and the good events of their lives, all from a seed.
Refuses to own: what is wrong on purpose (`faults`), sockets, files, the real clock.
"""
