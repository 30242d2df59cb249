"""The relay in a process of its own, under the name that the tests know."""

from tools.relay_process import RelayProcess, free_port

__all__ = ["RelayProcess", "free_port"]
