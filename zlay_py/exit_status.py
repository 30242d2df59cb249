"""Exit statuses that scripts and systemd units may rely on. Owns: the numbers, for every way to start the relay."""

ALL_IS_WELL = 0
CONFIG_WRONG = 2
"""A setting is wrong, or somebody else owns the data. Trying again is useless until somebody changes that; a usage
error has the same status."""
START_FAILED = 3
"""The relay could not start: a file or a database is damaged, or can't be opened. gunicorn's WORKER_BOOT_ERROR."""
DAMAGED = 4
"""`zlay log verify` found what can't be read."""
BROKEN = 70
"""The relay stopped because it could not go on (BSD's EX_SOFTWARE)."""
