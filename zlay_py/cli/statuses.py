"""Exit statuses that scripts and systemd units may rely on."""

ALL_IS_WELL = 0
CONFIG_WRONG = 2
"""A setting is wrong. Trying again is useless until somebody changes it; a usage error has the same status."""
