"""Errors of libraries written in Rust, in greenlets, whatever the environment asks for."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
POISON_IN_GREENLETS = "tests/workers/test_subscriber.py::test_frames_without_a_use_let_the_others_run"


def test_malformed_frames_do_not_crash_a_process_that_was_started_with_backtraces_on() -> None:
    """The stack trace that a decoder would record walks the greenlet's stack, which is no whole stack."""
    command = [sys.executable, "-m", "gevent.monkey", "--module", "pytest", "-q", POISON_IN_GREENLETS]
    environment = {**os.environ, "RUST_BACKTRACE": "1", "RUST_LIB_BACKTRACE": "1"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
