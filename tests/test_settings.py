import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from zlay_py.errors import ConfigError
from zlay_py.settings import (
    VARIABLES,
    Durability,
    LogFormat,
    LogLevel,
    Settings,
    Sync11,
    Validation,
    allowed,
    load_settings,
)
from zlay_py.settings_checks import redact

NO_FILE = Path("/nowhere/.env")
PASSWORD = "hunter2"


def load(**variables: str) -> Settings:
    return load_settings(variables, NO_FILE)


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**variables)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_defaults_are_those_of_the_documents() -> None:
    settings = load()
    assert (settings.port, settings.metrics_port, settings.upstream) == (3000, 3001, "bsky.network")
    assert (settings.data_dir, settings.retention_hours) == (Path("data/events"), 72)
    assert (settings.resolver_threads, settings.frame_workers) == (4, 16)
    assert (settings.frame_queue_capacity, settings.validator_cache_size) == (4096, 250_000)
    assert (settings.bind, settings.metrics_bind) == ("0.0.0.0", "0.0.0.0")
    assert (settings.plc_url, settings.hosts, settings.ca_file) == ("https://plc.directory", (), None)
    assert (settings.validation, settings.sync11) == (Validation.OPTIMISTIC, Sync11.RATCHET)
    assert (settings.history_frames, settings.history_mb, settings.initial_seq) == (50_000, 128, 1)
    assert (settings.durability, settings.disk_budget_gb) == (Durability.FSYNC, None)
    assert (settings.log_level, settings.log_format) == (LogLevel.INFO, LogFormat.AUTO)
    assert settings.allow_local_hosts is False


def test_the_database_lies_beside_the_data() -> None:
    assert load(RELAY_DATA_DIR="/srv/relay/events").database_url == "sqlite:////srv/relay/relay.sqlite"
    assert load(RELAY_DATA_DIR="here").database_url == f"sqlite:///{Path.cwd()}/relay.sqlite"
    assert load(DATABASE_URL="sqlite:////tmp/other.sqlite").database_url == "sqlite:////tmp/other.sqlite"
    assert Settings(data_dir=Path("/srv/relay/events")).database_url == "sqlite:////srv/relay/relay.sqlite"


@pytest.mark.parametrize(
    ("unknown", "known"),
    [
        ("RELAY_PROT", "RELAY_PORT"),
        ("RELAY_METRIC_PORT", "RELAY_METRICS_PORT"),
        ("RELAY_FRAME_WORKERS", "FRAME_WORKERS"),
        ("RELAY_VALIDATOR_CACHE_SIZE", "VALIDATOR_CACHE_SIZE"),
        ("RELAY_DATABASE_URL", "DATABASE_URL"),
        ("relay_port", "RELAY_PORT"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known(unknown: str, known: str, tmp_path: Path) -> None:
    line = refusal(**{unknown: PASSWORD})
    assert line == f"{unknown} in the environment is no setting; did you mean {known}?"
    env_file = tmp_path / ".env"
    env_file.write_text(f"{unknown}={PASSWORD}\n")
    with pytest.raises(ConfigError, match=f"^{unknown} in {env_file} is no setting; did you mean {known}\\?$"):
        load_settings({}, env_file)


def test_a_variable_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("COMPOSE_PROJECT_NAME=x\nport=1\n")
    assert load_settings({"HOME": "/root", "hosts": "a.example"}, env_file) == load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RELAY_PORT", ""),
        ("RELAY_PORT", "abc"),
        ("RELAY_PORT", "-1"),
        ("RELAY_PORT", "65536"),
        ("RELAY_PORT", "tcp://10.0.0.1:3000"),
        ("RELAY_METRICS_PORT", "3001.5"),
        ("RELAY_BIND", "everywhere"),
        ("RELAY_METRICS_BIND", ""),
        ("RELAY_UPSTREAM", "not a host"),
        ("RELAY_UPSTREAM", "http://localhost"),
        ("RELAY_UPSTREAM", "https://relay.example/path"),
        ("RELAY_HOSTS", "pds.example,8.8.8.8"),
        ("RELAY_HOSTS", "pds.example pds2.example"),
        ("RELAY_HOSTS", "pds.example:8080"),
        ("RELAY_ALLOW_LOCAL_HOSTS", "maybe"),
        ("RELAY_PLC_URL", ""),
        ("RELAY_PLC_URL", "plc.directory"),
        ("RELAY_PLC_URL", "https://plc.directory/?q"),
        ("RELAY_CA_FILE", "/nowhere/ca.pem"),
        ("RELAY_CA_FILE", "/"),
        ("RELAY_DATA_DIR", ""),
        ("RELAY_DATA_DIR", "~/relay"),
        ("RELAY_DATA_DIR", "/what?/events"),
        ("RELAY_RETENTION_HOURS", "0"),
        ("RELAY_RETENTION_HOURS", "1e9"),
        ("RELAY_DISK_BUDGET_GB", "0"),
        ("RELAY_DISK_BUDGET_GB", "nan"),
        ("RELAY_DISK_BUDGET_GB", "inf"),
        ("RELAY_DURABILITY", "maybe"),
        ("RELAY_INITIAL_SEQ", "0"),
        ("RELAY_INITIAL_SEQ", str(2**52 + 1)),
        ("RELAY_HISTORY_FRAMES", "0"),
        ("RELAY_HISTORY_MB", "0"),
        ("RELAY_VALIDATION", "none"),
        ("RELAY_SYNC11", "off"),
        ("RESOLVER_THREADS", "0"),
        ("FRAME_WORKERS", "0"),
        ("FRAME_QUEUE_CAPACITY", "0"),
        ("VALIDATOR_CACHE_SIZE", "9"),
        ("RELAY_LOG_LEVEL", "loud"),
        ("RELAY_LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_and_what_is_allowed(variable: str, value: str) -> None:
    line = refusal(**{variable: value})
    assert line.startswith(f"{variable}={value!r} is refused")
    assert allowed(VARIABLES[variable]) in line


def test_every_setting_says_what_is_allowed_and_what_it_means() -> None:
    for name, field in Settings.model_fields.items():
        assert allowed(name)
        assert field.description
        assert field.description.endswith(".")


def test_the_other_wrong_values_are_named_too() -> None:
    line = refusal(RELAY_SYNC11="x", RELAY_PORT="y", FRAME_WORKERS="z")
    assert line.startswith("RELAY_PORT='y' is refused")
    assert "(also refused: RELAY_SYNC11, FRAME_WORKERS)" in line


def test_a_refused_value_is_shown_only_in_part() -> None:
    assert len(refusal(RELAY_PORT="9" * 10_000)) < 200


@pytest.mark.parametrize(
    "value",
    [
        f"postgresql://u:{PASSWORD}@db",
        f"postgresql://u:{PASSWORD}@db/",
        f"postgresql://u:{PASSWORD}@db/a/b",
        f"postgresql://u@db?password={PASSWORD}",
        f"postgresql://u:{PASSWORD} @db/relay",
        f"postgresql+psycopg2://u:{PASSWORD}@db/relay",
        f"postgres:{PASSWORD}",
        f"mysql://u:{PASSWORD}@db/relay",
        "sqlite://",
        "sqlite:///:memory:",
        "x.db",
    ],
)
def test_no_other_database_is_accepted_and_a_password_is_never_shown(value: str) -> None:
    line = refusal(DATABASE_URL=value)
    assert line.startswith("DATABASE_URL is refused")
    assert "sqlite:///path/to/file, or postgresql://user:password@host:port/name" in line
    assert PASSWORD not in line


@pytest.mark.parametrize(
    "value",
    [
        f"postgresql://relay:{PASSWORD}@db.example:5432/relay",
        f"postgres://relay:{PASSWORD}@db/relay?sslmode=verify-full",
        f"postgresql://relay@one:1,two:2/relay?target_session_attrs=read-write&password={PASSWORD}",
        f"postgresql:///relay?host=/run/postgresql&user=relay&sslpassword={PASSWORD}",
    ],
)
def test_a_server_is_accepted_and_its_password_is_never_shown(value: str) -> None:
    settings = load(DATABASE_URL=value)
    assert settings.database_url == value
    for text in (repr(settings), str(settings), str(settings.variables())):
        assert PASSWORD not in text
        assert "***" in text


@pytest.mark.parametrize("variable", ["RELAY_PLC_URL", "RELAY_UPSTREAM", "RELAY_HOSTS"])
def test_an_address_with_a_password_is_refused_and_not_shown(variable: str) -> None:
    line = refusal(**{variable: f"https://user:{PASSWORD}@pds.example"})
    assert PASSWORD not in line
    assert "https://***@pds.example" in line


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="@"), min_size=1))
def test_nothing_before_the_last_at_sign_of_an_address_survives(secret: str, host: str) -> None:
    assert redact(f"x://{secret}@{host}") == f"x://***@{host}"


def test_hosts_are_split_lowered_and_named_once() -> None:
    settings = load(RELAY_HOSTS=" A.Example , https://b.example/, ,a.example")
    assert settings.hosts == ("a.example", "https://b.example")


def test_local_hosts_need_permission() -> None:
    line = refusal(RELAY_HOSTS="pds.example,localhost:2583")
    assert line == "RELAY_HOSTS names localhost:2583: allowed only with RELAY_ALLOW_LOCAL_HOSTS=true"
    assert "127.0.0.1:2583" in refusal(RELAY_HOSTS="http://127.0.0.1:2583")
    allowed_hosts = load(RELAY_HOSTS="localhost:2583,127.0.0.1:1", RELAY_ALLOW_LOCAL_HOSTS="true").hosts
    assert allowed_hosts == ("localhost:2583", "127.0.0.1:1")
    assert load(RELAY_UPSTREAM="http://localhost:2470").upstream == "http://localhost:2470"
    assert "no host" in refusal(RELAY_HOSTS="localhost:65536", RELAY_ALLOW_LOCAL_HOSTS="true")


def test_empty_means_nothing_where_nothing_is_a_value() -> None:
    names = ("RELAY_UPSTREAM", "RELAY_HOSTS", "RELAY_CA_FILE", "RELAY_DISK_BUDGET_GB", "DATABASE_URL")
    settings = load(**dict.fromkeys(names, " "))
    assert (settings.upstream, settings.hosts, settings.ca_file, settings.disk_budget_gb) == ("", (), None, None)
    assert settings.database_url == load().database_url


def test_values_may_be_written_in_capitals() -> None:
    assert load(RELAY_LOG_LEVEL="WARNING", RELAY_SYNC11="Strict").log_level is LogLevel.WARNING


def test_the_two_ports_differ() -> None:
    assert refusal(RELAY_PORT="3001").startswith("RELAY_PORT and RELAY_METRICS_PORT are both 3001")
    assert load(RELAY_PORT="0", RELAY_METRICS_PORT="0").port == 0


def test_addresses_to_listen_on() -> None:
    settings = load(RELAY_BIND="::", RELAY_METRICS_BIND="127.0.0.1")
    assert settings.bind_address == "[::]:3000"
    assert settings.metrics_bind_address == "127.0.0.1:3001"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(
        "\ufeff# ours\nexport RELAY_PORT=1000\nRELAY_METRICS_PORT='2000' # second\nFRAME_WORKERS=${X}3\n"
    )
    line_three = refusal_of_file(env_file)
    assert line_three.startswith("FRAME_WORKERS='${X}3' is refused")  # nothing is expanded
    settings = load_settings({"RELAY_METRICS_PORT": "3333", "FRAME_WORKERS": "3"}, env_file)
    assert (settings.port, settings.metrics_port, settings.frame_workers) == (1000, 3333, 3)


def refusal_of_file(env_file: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings({}, env_file)
    return str(caught.value)


def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("RELAY_PORT=1\nRELAY_BIND\n")
    assert refusal_of_file(env_file) == f"{env_file}, line 2: allowed are lines of the form NAME=value"
    env_file.write_text("RELAY_PORT=1\nRELAY_BIND='unclosed\n")
    assert refusal_of_file(env_file).startswith(f"{env_file}, line 2:")
    env_file.write_bytes(b"RELAY_PORT=\xff")
    assert "not UTF-8" in refusal_of_file(env_file)
    env_file.unlink()
    env_file.mkdir()
    assert "can't be read" in refusal_of_file(env_file)


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELAY_PORT", "4000")
    (tmp_path / ".env").write_text("RELAY_PORT=5000\nRELAY_METRICS_PORT=5001\n")
    settings = load_settings()
    assert (settings.port, settings.metrics_port) == (4000, 5001)


def test_what_is_listed_can_be_read_back() -> None:
    settings = load(RELAY_HOSTS="a.example,b.example", RELAY_DISK_BUDGET_GB="1.5", RELAY_ALLOW_LOCAL_HOSTS="yes")
    assert load(**settings.variables()) == settings


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load().port = 1
    with pytest.raises(ValidationError):
        Settings(prot=1)  # type: ignore[call-arg]


def test_reading_settings_imports_nothing_that_gevent_patches_late() -> None:
    program = (
        "import sys, pathlib, zlay_py.settings as s; s.load_settings({}, pathlib.Path('/nowhere'));"
        "print({'ssl', 'asyncio', 'subprocess'} & {*sys.modules})"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
