"""Exit statuses that scripts and systemd units may rely on."""

ALL_IS_WELL = 0
CONFIG_WRONG = 2
"""A setting is wrong. Trying again is useless until somebody changes it; a usage error has the same status."""
START_FAILED = 3
"""The relay could not start: a file or a database is damaged, or can't be opened."""
DAMAGED = 4
"""`zlay log verify` found what can't be read."""
