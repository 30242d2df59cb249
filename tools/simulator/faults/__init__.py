"""Owns: events that are wrong in exactly one way, one maker per intent.
Refuses to own: what a relay owes for them (`oracle`).
"""
