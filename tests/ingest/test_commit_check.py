"""What the blocks of a commit must hold."""

from tests.ingest.conftest import Bench
from zlay_py.atproto import dag_cbor
from zlay_py.atproto.events import RECORD_BYTES_MAX
from zlay_py.ingest.outcome import DropReason

POST = "app.bsky.feed.post"


def test_a_record_has_a_largest_size(bench: Bench) -> None:
    repo = bench.repo()
    bench.accept(repo.commit([]))
    around = len(dag_cbor.encode({"text": "x" * RECORD_BYTES_MAX})) - RECORD_BYTES_MAX
    bench.accept(repo.create(f"{POST}/a", {"text": "x" * (RECORD_BYTES_MAX - around)}))
    wire = repo.create(f"{POST}/b", {"text": "x" * (RECORD_BYTES_MAX - around + 1)})
    assert bench.drop(wire) is DropReason.RECORD_TOO_LARGE
