"""Owns: streams that were signed or recorded before, kept in files, and sent as fast as sockets take them.
Refuses to own: signing while it sends; more memory than an index.
"""
