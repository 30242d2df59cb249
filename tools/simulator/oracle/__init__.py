"""Owns: the account of what was emitted, the rules of what must come out, and the judgement of what did.
Refuses to own: how a relay comes to do it. The rules are the specification's, decoded and compared by code of its own.
"""
