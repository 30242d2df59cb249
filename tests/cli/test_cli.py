import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from zlay_py import __version__
from zlay_py.atproto import frame
from zlay_py.clock import SystemClock
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.delta import Delta
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry, RecordKind
from zlay_py.eventlog.tail import Tail

ROOT = Path(__file__).parent.parent.parent
ZLAY = (sys.executable, "-W", "error", "-c", "from zlay_py.cli.main import run; run()")
MODULE = (sys.executable, "-W", "error", "-m", "zlay_py")
START_S_MAX = 30


def environment(**variables: str) -> dict[str, str]:
    """A clean one: nothing of ours but `variables`, and the project importable from any folder."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(ROOT), **variables}


def run(command: Sequence[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=60, check=False
    )


def test_check_config_prints_what_is_in_force(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RELAY_PORT=1234\nRELAY_BIND=127.0.0.1\n")
    done = run([*ZLAY, "check-config"], tmp_path, RELAY_PORT="4321")
    assert done.returncode == 0, done.stderr
    values = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert (values["RELAY_PORT"], values["RELAY_BIND"]) == ("4321", "127.0.0.1")
    assert values["DATABASE_URL"] == f"sqlite:///{tmp_path}/data/relay.sqlite"
    as_json = run([*ZLAY, "check-config", "--json"], tmp_path, RELAY_PORT="4321")
    assert json.loads(as_json.stdout) == values
    assert list(tmp_path.iterdir()) == [tmp_path / ".env"]


@pytest.mark.parametrize(
    "command", [(*ZLAY, "check-config"), (*ZLAY, "check-config", "--json"), (*ZLAY, "serve"), MODULE]
)
def test_a_wrong_setting_is_one_line_and_status_2(command: Sequence[str], tmp_path: Path) -> None:
    done = run(command, tmp_path, RELAY_PROT="1")
    assert done.returncode == 2
    assert done.stderr == "zlay: RELAY_PROT in the environment is no setting; did you mean RELAY_PORT?\n"
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_argument_is_status_2(tmp_path: Path) -> None:
    for arguments in (["dance"], ["serve", "--fast"], []):
        assert run([*ZLAY, *arguments], tmp_path).returncode == 2


def test_version(tmp_path: Path) -> None:
    assert run([*ZLAY, "version"], tmp_path).stdout.startswith(f"zlay_py {__version__}, python 3.")
    facts = json.loads(run([*ZLAY, "version", "--json"], tmp_path).stdout)
    assert facts["zlay_py"] == __version__
    assert set(facts) == {"zlay_py", "python", "gevent", "gunicorn", "falcon"}


def test_the_help_tells_the_exit_statuses(tmp_path: Path) -> None:
    for command in ((*ZLAY, "--help"), (*ZLAY, "serve", "--help"), (*MODULE, "--help")):
        text = " ".join(run(command, tmp_path).stdout.split())
        for status in ("0 all is well", "2 a setting or an argument is wrong", "3 the relay could not start", "70 it"):
            assert status in text


def test_serve_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    settings = {
        "RELAY_PORT": "0",
        "RELAY_METRICS_PORT": "0",
        "RELAY_BIND": "127.0.0.1",
        "RELAY_METRICS_BIND": "127.0.0.1",
        "RELAY_UPSTREAM": "",
        "RELAY_LOG_FORMAT": "json",
    }
    process = subprocess.Popen(MODULE, cwd=tmp_path, env=environment(**settings), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if '"listening"' in line:
                break
        else:
            pytest.fail("never listened:\n" + "".join(seen))
        address = f"http://127.0.0.1:{json.loads(line)['port']}/_health"
        with urllib.request.urlopen(address, timeout=START_S_MAX) as answer:
            assert json.load(answer)["status"] == "ok"
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(START_S_MAX) == 0, rest
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
    assert (tmp_path / "data" / "relay.sqlite").is_file()


def test_log_verify_tells_what_is_damaged(tmp_path: Path) -> None:
    log = EventLog(tmp_path, durability=Durability.FSYNC, clock=SystemClock(), tail=Tail())
    log.open()
    payload = frame.encode_identity("did:plc:ewvi7nxzyoun6zhxrhs64oiz", "2026-01-02T03:04:05.678Z", None, seq=1)
    span = frame.seq_span(payload, frame.FrameKind.IDENTITY)
    log.append([Entry(RecordKind.IDENTITY, 0, 1, 1, 1, 0, 1, payload, span, Delta()) for _ in range(3)])
    log.close()
    fine = run([*ZLAY, "log", "verify", str(tmp_path)], tmp_path)
    assert (fine.returncode, fine.stdout) == (0, "evts-1: 3 records, seqs 1 to 3: fine\n")
    segment = tmp_path / "evts-1"
    damaged = bytearray(segment.read_bytes())
    damaged[300] ^= 1
    segment.write_bytes(damaged)
    found = run([*ZLAY, "log", "verify", "--json", str(tmp_path)], tmp_path)
    assert found.returncode == 4
    assert "damaged at offset" in json.loads(found.stdout)["problem"]
