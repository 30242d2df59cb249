"""A stream in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fanout.streams import Stream


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    made = Stream(tmp_path)
    yield made
    made.log.close()
