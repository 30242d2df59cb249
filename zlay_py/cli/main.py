"""The entry point of `zlay`: patches the standard library for gevent before anything else of ours is imported."""

from collections.abc import Sequence

from gevent import monkey


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process with its exit status. `arguments`: those of the process by default."""
    monkey.patch_all()
    from zlay_py.cli.commands import zlay

    zlay(args=arguments, prog_name="zlay")
