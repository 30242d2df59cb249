"""The parts that only decide do not need a hub."""

import subprocess
import sys

DECIDING = "record delta wire files index segment ceiling recovery retention reader batch verify lock"


def test_the_deciding_parts_do_not_import_gevent() -> None:
    imports = "; ".join(f"import zlay_py.eventlog.{name}" for name in DECIDING.split())
    script = f"import sys; {imports}; print(sorted(name for name in sys.modules if name.startswith('gevent')))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
