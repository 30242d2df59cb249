"""A recording of real hosts, replayed: the same frames, the same documents, other addresses."""

import json
from pathlib import Path
from typing import Any

import gevent
import pytest
import websocket

from tests.support.simulator_frames import WAIT_S_MAX
from tools.simulator.ahead import streams
from tools.simulator.ahead.corpus import CorpusError, Documents, import_corpus, read_frames
from tools.simulator.ahead.serving import Serving
from tools.simulator.servers.host import SUBSCRIBE, HostServer
from zlay_py.atproto import did_document
from zlay_py.atproto.keys import parse_did_key

pytestmark = pytest.mark.needs_fixtures
IMPORTED_SYNCS = 6
"""The recording has so many `#sync` of accounts that have moved, signed by the key of before."""


@pytest.fixture(scope="module")
def corpus(fixtures_dir: Path) -> Path:
    return fixtures_dir / "corpus"


@pytest.fixture(scope="module")
def accounts(corpus: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((corpus / "dids.json").read_bytes())
    return loaded


def imported(corpus: Path, folder: Path, documents: Documents) -> streams.Manifest:
    return import_corpus([corpus / "pds0.frames", corpus / "pds1.frames"], corpus / "dids.json", folder, documents)


def received(host: HostServer, count: int) -> list[bytes]:
    socket = websocket.create_connection(f"ws://{host.name}{SUBSCRIBE}?cursor=0", timeout=WAIT_S_MAX)
    frames = [socket.recv_data()[1] for _ in range(count)]
    socket.close()
    return frames


@pytest.mark.parametrize("documents", Documents)
def test_every_frame_comes_as_it_was_recorded(corpus: Path, tmp_path: Path, documents: Documents) -> None:
    manifest = imported(corpus, tmp_path, documents)
    assert manifest.frames == (2338, 1955)
    with Serving(tmp_path, web_dids=[]) as serving:
        serving.play()
        readers = [gevent.spawn(received, *item) for item in zip(serving.network.hosts, manifest.frames, strict=True)]
        for name, reader in zip(("pds0", "pds1"), readers, strict=True):
            assert reader.get(timeout=WAIT_S_MAX) == list(read_frames(corpus / f"{name}.frames"))
        assert serving.state()["documentsMade"] == serving.state()["documents"]


def test_the_last_documents_name_the_hosts_that_replay(corpus: Path, accounts: dict[str, Any], tmp_path: Path) -> None:
    imported(corpus, tmp_path, Documents.LAST)
    with Serving(tmp_path, web_dids=[]) as serving:
        documents = serving.network.plc.documents
        origins = {f"http://localhost:1820{n + 1}": host.origin for n, host in enumerate(serving.network.hosts)}
    plc = {did: account for did, account in accounts.items() if did.startswith("did:plc:")}
    assert set(documents) == set(plc)
    for did, account in plc.items():
        if "id" not in account["didDoc"]:
            assert documents[did] is None  # tombstoned
            continue
        recorded, served = did_document.parse(did, account["didDoc"]), did_document.parse(did, documents[did])
        assert (served.signing_key, served.handle) == (recorded.signing_key, recorded.handle)
        assert recorded.pds_endpoint is not None
        assert served.pds_endpoint == origins[recorded.pds_endpoint]


def test_documents_of_the_time_have_the_key_that_each_event_was_signed_with(
    corpus: Path, accounts: dict[str, Any], tmp_path: Path
) -> None:
    """By the recording's own account of which key was seen where."""
    imported(corpus, tmp_path, Documents.OF_THE_TIME)
    changes = list(streams.read_changes(tmp_path))
    right, other = 0, 0
    for did, account in accounts.items():
        for entry in account["keyHistory"]:
            for host, name in enumerate(("pds0", "pds1")):
                seen = entry["seen"].get(name)
                for seq in {seen["firstSeq"], seen["lastSeq"]} if seen else ():
                    key = None
                    for item in changes:
                        place = dict(item.places).get(host)
                        if item.change.did == did and place is not None and place < seq:
                            key = item.change.document and item.change.document.did_key
                    right += key == entry["didKey"]
                    other += key != entry["didKey"]
    assert (right, other) == (right, IMPORTED_SYNCS)
    assert right > 100


def test_the_web_did_is_served_where_its_port_is_free(corpus: Path, accounts: dict[str, Any], tmp_path: Path) -> None:
    (did,) = imported(corpus, tmp_path, Documents.LAST).web_dids
    (change,) = (item.change for item in streams.read_changes(tmp_path) if item.change.did == did)
    assert change.document is not None
    recorded = did_document.parse(did, accounts[did]["didDoc"])
    assert recorded.signing_key == parse_did_key(change.document.did_key)


@pytest.mark.parametrize("data", [b"\0\0", b"\0\0\0\5abc", b"\xff\xff\xff\xffabc", b"\0\0\0\0", b"\0\0\0\1\x01"])
def test_what_is_no_recording_is_refused(corpus: Path, tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "pds0.frames"
    file.write_bytes(data)
    with pytest.raises(CorpusError):
        import_corpus([file, corpus / "pds1.frames"], corpus / "dids.json", tmp_path / "out", Documents.LAST)
