"""Shared fixtures. Nothing here starts a server: those live in `tests/support`."""

import os
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """The public vectors and the recorded corpus, or a skip that says what is missing."""
    folder = Path(os.environ.get("ZLAY_FIXTURES") or PROJECT_ROOT.parent / "shared" / "fixtures")
    if not folder.is_dir():
        pytest.skip(f"no fixtures folder at {folder} (set ZLAY_FIXTURES)")
    return folder
