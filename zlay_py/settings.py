"""Every setting of the relay: name, default, bounds, meaning. Owns: reading the environment and `.env`, and the one
line that says what is wrong. Refuses to own: what a setting does. gunicorn's master imports this module before
anything is patched, so it imports nothing that gevent must patch first (no ssl): pydantic and python-dotenv only.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails

from zlay_py.errors import ConfigError
from zlay_py.settings_checks import (
    SHOWN_CHARS_MAX,
    SQLITE,
    check_bind,
    check_database_url,
    check_hosts,
    check_plc_url,
    host_list,
    host_or_none,
    is_local,
    join_host_port,
    lower,
    none_if_empty,
    readable,
    redact,
    whole_path,
)

PREFIX = "RELAY_"
"""Variables that start so are ours: one that we don't know is refused. The others in `VARIABLES` have older names."""
SEQ_MAX = 2**52
"""The highest first seq. Half of the 2^53 that a consumer in JavaScript can count to is left for the events."""


class Validation(StrEnum):
    """What happens to a commit whose signing key is not known yet: pass it on unverified, or make it wait."""

    OPTIMISTIC = "optimistic"
    STRICT = "strict"


class Sync11(StrEnum):
    """How commits without a proven inversion are treated (atproto sync spec, Commit validation)."""

    STRICT = "strict"
    RATCHET = "ratchet"
    LENIENT = "lenient"


class Durability(StrEnum):
    """When an event counts as written: after fsync, or after the operating system took it."""

    FSYNC = "fsync"
    FLUSH = "flush"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """`auto` is `console` on a terminal and `json` elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


_EVERYWHERE = "0.0.0.0"  # noqa: S104  a relay is a public server; a private one sets RELAY_BIND
_ADDRESS = "an IP address or localhost"


def _setting(
    variable: str,
    default: object,
    description: str,
    *,
    allowed: str = "",
    ge: float | None = None,
    le: float | None = None,
) -> Any:
    """One field. `allowed` says what may be written, where the type and the bounds do not say it."""
    extra: JsonDict = {"allowed": allowed}
    return Field(default, validation_alias=variable, description=description, json_schema_extra=extra, ge=ge, le=le)


class Settings(BaseModel):
    """The effective settings. Made by `load_settings`; a test may write `Settings(port=0, data_dir=folder)`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        validate_default=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    port: int = _setting(
        "RELAY_PORT",
        3000,
        "Port of the firehose, the XRPC queries and `/_health`. 0 takes any free port.",
        ge=0,
        le=65535,
    )
    metrics_port: int = _setting(
        "RELAY_METRICS_PORT",
        3001,
        "Port of `/metrics`, `/_health` and `/_ready`. 0 takes any free port.",
        ge=0,
        le=65535,
    )
    bind: Annotated[str, AfterValidator(check_bind)] = _setting(
        "RELAY_BIND", _EVERYWHERE, "Address that `RELAY_PORT` listens on.", allowed=_ADDRESS
    )
    metrics_bind: Annotated[str, AfterValidator(check_bind)] = _setting(
        "RELAY_METRICS_BIND", _EVERYWHERE, "Address that `RELAY_METRICS_PORT` listens on.", allowed=_ADDRESS
    )
    upstream: Annotated[str, AfterValidator(host_or_none)] = _setting(
        "RELAY_UPSTREAM",
        "bsky.network",
        "Relay asked once at start for its list of hosts (`listHosts`). Empty: none.",
        allowed="empty, a host name, or http://localhost:PORT",
    )
    hosts: Annotated[tuple[str, ...], BeforeValidator(host_list), AfterValidator(check_hosts)] = _setting(
        "RELAY_HOSTS",
        (),
        "Hosts subscribed to in addition, from cursor 0 when new.",
        allowed="host names with commas between them (with RELAY_ALLOW_LOCAL_HOSTS also localhost:PORT)",
    )
    allow_local_hosts: bool = _setting(
        "RELAY_ALLOW_LOCAL_HOSTS",
        False,
        "For development: hosts, DID documents and `did:web` may name `localhost:PORT`.",
    )
    plc_url: Annotated[str, AfterValidator(check_plc_url)] = _setting(
        "RELAY_PLC_URL",
        "https://plc.directory",
        "The directory that resolves `did:plc`.",
        allowed="http:// or https:// with a host, without user, password or query",
    )
    ca_file: Annotated[Path | None, BeforeValidator(none_if_empty), AfterValidator(readable)] = _setting(
        "RELAY_CA_FILE",
        None,
        "Certificates (PEM) trusted for outgoing TLS besides the system's.",
        allowed="empty, or a file that can be read",
    )
    data_dir: Annotated[Path, BeforeValidator(whole_path)] = _setting(
        "RELAY_DATA_DIR",
        Path("data/events"),
        "Folder of the event log. One relay owns it.",
        allowed="a path without ~ and ?",
    )
    database_url: str = _setting(
        "DATABASE_URL",
        "",
        "SQL database of hosts, accounts and identities: an SQLite file, or PostgreSQL 13 or newer. "
        "Empty: SQLite, `relay.sqlite` beside `RELAY_DATA_DIR`.",
        allowed="empty, sqlite:///path/to/file, or postgresql://user:password@host:port/name",
    )
    retention_hours: int = _setting("RELAY_RETENTION_HOURS", 72, "How long events can be replayed.", ge=1, le=24 * 366)
    disk_budget_gb: Annotated[float | None, BeforeValidator(none_if_empty)] = _setting(
        "RELAY_DISK_BUDGET_GB",
        None,
        "Most disk the event log takes; the oldest events go first. Empty: 80 % of what is free at the first start.",
        ge=0.1,
        le=1_000_000,
    )
    durability: Annotated[Durability, BeforeValidator(lower)] = _setting(
        "RELAY_DURABILITY",
        Durability.FSYNC,
        "`fsync`: an event is sent when it is on the disk. `flush`: when the operating system has it; "
        "a power loss may then lose sent events, and reuses no seq.",
    )
    initial_seq: int = _setting(
        "RELAY_INITIAL_SEQ", 1, "The lowest seq given out. Only ever raises the next one.", ge=1, le=SEQ_MAX
    )
    history_frames: int = _setting(
        "RELAY_HISTORY_FRAMES", 50_000, "Newest events kept in memory for consumers.", ge=1, le=10_000_000
    )
    history_mb: int = _setting(
        "RELAY_HISTORY_MB", 128, "Memory they may take; whichever of the two ends first.", ge=1, le=65_536
    )
    validation: Annotated[Validation, BeforeValidator(lower)] = _setting(
        "RELAY_VALIDATION",
        Validation.OPTIMISTIC,
        "A commit of an account whose key is not known yet: `optimistic` passes it on unverified and looks the key up; "
        "`strict` makes it wait.",
    )
    sync11: Annotated[Sync11, BeforeValidator(lower)] = _setting(
        "RELAY_SYNC11",
        Sync11.RATCHET,
        "Commits without a proven inversion: `strict` drops them; `ratchet` passes those without `prevData` from hosts "
        "that have never sent it; `lenient` passes and counts all.",
    )
    resolver_threads: int = _setting("RESOLVER_THREADS", 4, "Identity look-ups in flight, in sixteens.", ge=1, le=64)
    frame_workers: int = _setting("FRAME_WORKERS", 16, "Lanes that frames are shared out to by account.", ge=1, le=1024)
    frame_queue_capacity: int = _setting(
        "FRAME_QUEUE_CAPACITY",
        4096,
        "Frames that wait in one lane before hosts are read no further.",
        ge=1,
        le=1_000_000,
    )
    validator_cache_size: int = _setting(
        "VALIDATOR_CACHE_SIZE",
        250_000,
        "Identities kept in memory. When full, the tenth resolved longest ago goes.",
        ge=10,
        le=50_000_000,
    )
    log_level: Annotated[LogLevel, BeforeValidator(lower)] = _setting(
        "RELAY_LOG_LEVEL", LogLevel.INFO, "The least important line that is written."
    )
    log_format: Annotated[LogFormat, BeforeValidator(lower)] = _setting(
        "RELAY_LOG_FORMAT", LogFormat.AUTO, "`auto`: `console` on a terminal, else `json`."
    )

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str, info: ValidationInfo) -> str:
        if not value and isinstance(data_dir := info.data.get("data_dir"), Path):
            value = SQLITE + str(data_dir.absolute().parent / "relay.sqlite")
        return check_database_url(value) if value else value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.port and self.port == self.metrics_port:
            raise ValueError(f"RELAY_PORT and RELAY_METRICS_PORT are both {self.port}: allowed are two different ports")
        for host in () if self.allow_local_hosts else self.hosts:
            if is_local(host):
                raise ValueError(f"RELAY_HOSTS names {host}: allowed only with RELAY_ALLOW_LOCAL_HOSTS=true")
        return self

    @property
    def bind_address(self) -> str:
        """`host:port` as gunicorn takes it; an IPv6 address is in brackets."""
        return join_host_port(self.bind, self.port)

    @property
    def metrics_bind_address(self) -> str:
        return join_host_port(self.metrics_bind, self.metrics_port)

    def variables(self) -> dict[str, str]:
        """Variable → value as one would write it in `.env`, nothing secret in it."""
        return {variable: as_text(getattr(self, name)) for variable, name in VARIABLES.items()}

    def __repr_args__(self) -> Iterable[tuple[str, str]]:
        return ((VARIABLES_BY_FIELD[name], as_text(getattr(self, name))) for name in type(self).model_fields)


VARIABLES_BY_FIELD: dict[str, str] = {
    name: str(field.validation_alias) for name, field in Settings.model_fields.items()
}
VARIABLES: dict[str, str] = {variable: name for name, variable in VARIABLES_BY_FIELD.items()}
"""Variable → field name, in the order of the documentation."""


def as_text(value: object) -> str:
    """A setting's value as text, with the user and password of an address left out."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return redact(",".join(map(str, value)))
    return redact(str(value))


def allowed(name: str) -> str:
    """What may be written for the field `name`, as a phrase: "a whole number from 1 to 64"."""
    field = Settings.model_fields[name]
    extra = field.json_schema_extra
    if isinstance(extra, dict) and extra["allowed"]:
        return str(extra["allowed"])
    kind = field.annotation
    if kind is bool:
        return "true or false"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "one of " + ", ".join(kind)
    least, most = (next(getattr(m, key) for m in field.metadata if hasattr(m, key)) for key in ("ge", "le"))
    return f"a whole number from {least} to {most}" if kind is int else f"empty, or a number from {least} to {most}"


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path = Path(".env")) -> Settings:
    """Reads `env_file` (if there is one) and `environ` (the process's own by default), which wins.

    Raises ConfigError with one line that names the variable and what is allowed.
    """
    environment = os.environ if environ is None else environ
    values: dict[str, str] = {}
    for source, place in ((_read_env_file(env_file), f"in {env_file}"), (environment, "in the environment")):
        for variable, text in source.items():
            if variable in VARIABLES:
                values[variable] = text.strip()
            elif variable.upper().startswith(PREFIX):
                raise ConfigError(
                    f"{variable[:SHOWN_CHARS_MAX]} {place} is no setting; did you mean {nearest(variable)}?"
                )
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_one_line(error.errors(include_url=False), values)) from None


def nearest(variable: str) -> str:
    """The known variable that looks most like this one."""
    return difflib.get_close_matches(variable.upper(), VARIABLES, n=1, cutoff=0.0)[0]


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            bindings = list(parse_stream(file))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path} can't be read ({reason}): allowed are lines of the form NAME=value") from None
    values = {}
    for binding in bindings:
        if binding.error or (binding.key is not None and binding.value is None):
            raise ConfigError(f"{path}, line {binding.original.line}: allowed are lines of the form NAME=value")
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def _one_line(errors: list[ErrorDetails], values: Mapping[str, str]) -> str:
    first = errors[0]
    message = str(first.get("ctx", {}).get("error", ""))
    if not first["loc"]:
        return message
    places = [str(error["loc"][0]) for error in errors if error["loc"]]
    variable, *others = dict.fromkeys(VARIABLES_BY_FIELD.get(place, place) for place in places)
    shown = "" if variable == "DATABASE_URL" else f"={redact(values.get(variable, ''))[:SHOWN_CHARS_MAX]!r}"
    return (
        f"{variable}{shown} is refused{f' ({message})' if message else ''}: allowed is {allowed(VARIABLES[variable])}"
        + (f" (also refused: {', '.join(others)})" if others else "")
    )
