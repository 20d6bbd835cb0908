"""Settings, and where each of them came from.

The first place that names a setting decides: the command line, the environment, `.env`, `marketlab.toml` (both in
the folder where the program was started), then the default. In the environment and in `.env` a setting is called
`MARKETLAB_` and its name; the names that are usual in the field (`INFLUXDB_TOKEN`, `BINANCE_SYMBOL`, ...) are
understood too. In `marketlab.toml` it is called by its name alone. Secrets are never printed.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from marketlab.errors import UsageError

__all__ = ["Setting", "Settings", "load_settings", "names_in_environment", "without_secrets"]

COMMAND_LINE = "the command line"
ENVIRONMENT = "the environment"
DOTENV = ".env"
TOML = "marketlab.toml"
DEFAULT = "default"

_PREFIX = "MARKETLAB_"
_NOT_SETTINGS = ("MARKETLAB_FULL", "MARKETLAB_REQUIRE", "MARKETLAB_CRASH_AT", "MARKETLAB_TEST_")
"""What tests go by, and how such names begin; everything else of ours in the environment is a setting."""

_HIDDEN = "********"
_SECRET = re.compile("pass|token|secret|key", re.IGNORECASE)


def _url(*schemes: str) -> Any:
    def check(value: str) -> str:
        scheme, _, rest = value.partition("://")
        if scheme.lower() not in schemes or not rest.strip("/"):
            raise ValueError(f"it should begin with {' or '.join(f'{known}://' for known in schemes)}, then a host")
        return value

    return AfterValidator(check)


def _split(value: object) -> object:
    """Lists are written with commas or spaces where only text can be written."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def _named(default: Any, name: str, *usual: str, **limits: Any) -> Any:
    """A field with its name in the environment, then the names that are usual in the field."""
    way = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**way, validation_alias=AliasChoices(f"MARKETLAB_{name}", *usual), **limits)


def _state_folder() -> Path:
    # As the XDG base directories say: state that outlives a restart and is not worth a backup.
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if Path(state).is_absolute() else Path("~/.local/state").expanduser()) / "marketlab" / "spool"


class Setting(msgspec.Struct, frozen=True):
    """One setting as it may be shown: secrets are covered."""

    name: str
    value: Any
    source: str


class Settings(BaseSettings):
    """Everything that can be set, validated. Made by `load_settings`, which knows where to look."""

    model_config = SettingsConfigDict(
        env_prefix="MARKETLAB_", populate_by_name=True, extra="ignore", frozen=True, env_ignore_empty=True
    )

    exchange: str = _named("binance", "EXCHANGE")
    symbols: Names = _named((), "SYMBOLS", "SYMBOLS", "BINANCE_SYMBOL")
    channels: Names = _named(("trade", "quote", "book", "kline"), "CHANNELS", "STREAMS")
    interval: str = _named("1m", "INTERVAL", "BINANCE_INTERVAL")
    """The interval that the channel name `kline` alone stands for."""
    ws_url: Annotated[str, _url("ws", "wss")] | None = _named(None, "WS_URL")
    rest_url: Annotated[str, _url("http", "https")] | None = _named(None, "REST_URL")
    time_unit: Literal["microsecond", "millisecond"] = _named("microsecond", "TIME_UNIT")
    """What the exchange is asked for; both are understood."""
    proxy: Annotated[str, _url("http", "https", "socks5", "socks5h")] | None = _named(None, "PROXY")

    store: str = _named("delta://marketdata", "STORE")
    flush_rows: int | None = _named(None, "FLUSH_ROWS", "FLUSH_BATCH_SIZE", ge=1)
    flush_ms: int | None = _named(None, "FLUSH_MS", "FLUSH_INTERVAL_MS", ge=1)
    """Rows and age at which a batch is written; without them, as the store prefers."""
    spool: Annotated[Path, AfterValidator(Path.expanduser)] = _named(_state_folder, "SPOOL")
    """Where records wait for stores on servers; those of a local store wait in its own folder."""
    spool_limit_mb: int | None = _named(None, "SPOOL_LIMIT_MB", ge=1)
    resume_seconds: float = _named(3600.0, "RESUME_SECONDS", ge=0)
    """How far back what was missed while no collector ran is fetched; 0: not at all."""
    spool_when_full: Literal["stop", "drop"] = _named("stop", "SPOOL_WHEN_FULL")
    """At that limit: take nothing more, or drop the oldest segment."""
    snapshot_seconds: float = _named(60.0, "SNAPSHOT_SECONDS", gt=0)
    snapshot_depth: int = _named(20, "SNAPSHOT_DEPTH", ge=1)
    log_level: Literal["debug", "info", "warning", "error"] = _named("info", "LOG_LEVEL")

    api_host: str = _named("127.0.0.1", "API_HOST", "API_HOST")
    api_port: int = _named(8000, "API_PORT", "API_PORT", ge=0, le=65535)

    influxdb_host: str | None = _named(None, "INFLUXDB_HOST", "INFLUXDB_HOST")
    influxdb_token: SecretStr | None = _named(None, "INFLUXDB_TOKEN", "INFLUXDB_TOKEN")
    influxdb_database: str | None = _named(None, "INFLUXDB_DATABASE", "INFLUXDB_DATABASE")
    influxdb_org: str | None = _named(None, "INFLUXDB_ORG", "INFLUXDB_ORG")

    postgres_host: str | None = _named(None, "POSTGRES_HOST", "POSTGRES_HOST")
    postgres_port: int = _named(5432, "POSTGRES_PORT", "POSTGRES_PORT", ge=1, le=65535)
    postgres_user: str | None = _named(None, "POSTGRES_USER", "POSTGRES_USER")
    postgres_password: SecretStr | None = _named(None, "POSTGRES_PASSWORD", "POSTGRES_PASSWORD")
    postgres_db: str | None = _named(None, "POSTGRES_DB", "POSTGRES_DB", "POSTGRES_DATABASE")

    redis_host: str | None = _named(None, "REDIS_HOST", "REDIS_HOST")
    redis_port: int = _named(6379, "REDIS_PORT", "REDIS_PORT", ge=1, le=65535)
    redis_password: SecretStr | None = _named(None, "REDIS_PASSWORD", "REDIS_PASSWORD")
    redis_db: int = _named(0, "REDIS_DB", "REDIS_DB", ge=0)

    _sources: dict[str, str] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load_settings` asks the sources one by one, to remember who said what."""
        return (init_settings,)

    @property
    def subscribed(self) -> tuple[str, ...]:
        """The channels with their intervals: `kline` alone stands for the interval that is set."""
        return tuple(f"kline_{self.interval}" if name == "kline" else name for name in self.channels)

    def source(self, name: str) -> str:
        """Where a setting came from, in words."""
        return self._sources.get(name, DEFAULT)

    def shown(self) -> Iterator[Setting]:
        """Every setting by name, secrets covered, with where it came from."""
        for name in type(self).model_fields:
            yield Setting(name, _shown(getattr(self, name)), self.source(name))


def load_settings(
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    caller: str = COMMAND_LINE,
    **overrides: Any,
) -> Settings:
    """The settings that hold here and now.

    Args:
        folder: where `.env` and `marketlab.toml` are looked for; the current folder if not given.
        environ: stands for the environment, if given.
        caller: who gave the overrides, in words.
        overrides: settings by name, which win; None stands for "not given".

    Raises:
        UsageError: a value does not fit, or a file is unreadable, or it or the environment names an unknown setting; the message names
            the setting and where it came from.
    """
    folder = Path() if folder is None else folder
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    given = {name: value for name, value in overrides.items() if value is not None}
    for source, found in (
        (TOML, _from_toml(folder / TOML)),
        (DOTENV, _from_dotenv(folder / DOTENV)),
        (ENVIRONMENT, _from_environment(environ)),
        (caller, _checked(given, "load_settings()")),
    ):
        values |= found
        sources |= dict.fromkeys(found, source)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise UsageError(_explain(error, sources)) from None
    settings._sources.update(sources)
    return settings


def names_in_environment() -> dict[str, list[str]]:
    """Every setting, and what it may be called in the environment and in `.env`, the first name winning."""
    return {name: _aliases(field) for name, field in Settings.model_fields.items()}


def without_secrets(url: str, *, options: bool = False) -> str:
    """A URL without user and password, fit to be shown; with `options` also those of its query that are no secret.

    A password may hold what should be written with % in a URL: / ? # and @. Where an @ behind a question mark may belong
    to either, only the scheme is left.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url.rpartition("@")[2].partition("?")[0]
    base, _, query = rest.partition("?")
    # A folder has no user, but perhaps an @ in its name.
    if scheme != "delta" and not rest.startswith("/"):
        if "@" in query:
            return f"{scheme}{separator}..."
        base = base.rpartition("@")[2]
    # As they were written: what decodes an option is not the same for all.
    pairs = [option.partition("=") for option in query.split("&") if options]
    kept = "&".join("".join(pair) for pair in pairs if pair[1] and not _SECRET.search(unquote(pair[0])))
    return f"{scheme}{separator}{base}{'?' if kept else ''}{kept}"


def _from_environment(environ: Mapping[str, str] | None) -> dict[str, Any]:
    source = EnvSettingsSource(Settings)
    if environ is not None:
        source.env_vars = {name.lower(): value for name, value in environ.items() if value}
    _expect_known(source.env_vars, "The environment")
    return _by_field(source())


def _from_dotenv(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        source = DotEnvSettingsSource(Settings, env_file=path, env_file_encoding="utf-8")
        _expect_known(source.env_vars, str(path))
        return _by_field(source())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is unreadable: {_reason(error)}.") from None


def _expect_known(names: Iterable[str], where: str) -> None:
    known = [alias for aliases in names_in_environment().values() for alias in aliases if alias.startswith(_PREFIX)]
    for name in map(str.upper, names):
        if name.startswith(_PREFIX) and name not in known and not name.startswith(_NOT_SETTINGS):
            raise _unknown(name, known, where)


def _from_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is unreadable: {_reason(error)}.") from None
    return _checked(found, str(path))


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _checked(found: Mapping[str, Any], where: str) -> dict[str, Any]:
    for name in found:
        if name not in Settings.model_fields:
            raise _unknown(name, Settings.model_fields, where)
    return dict(found)


def _unknown(name: str, known: Iterable[str], where: str) -> UsageError:
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return UsageError(f"{where} names an unknown setting {name!r}.{hint}")


def _by_field(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a source of pydantic-settings found, which may be called by field or by any alias."""
    fields = {alias: name for name, field in Settings.model_fields.items() for alias in (name, *_aliases(field))}
    return {fields[name]: value for name, value in found.items() if name in fields}


def _aliases(field: FieldInfo) -> list[str]:
    choices = field.validation_alias
    return [str(choice) for choice in choices.choices] if isinstance(choices, AliasChoices) else []


def _explain(error: ValidationError, sources: Mapping[str, str]) -> str:
    fault = error.errors(include_url=False, include_context=False)[0]
    name = next(iter(_by_field({str(fault["loc"][0]): None})))
    secret = "SecretStr" in str(Settings.model_fields[name].annotation)
    value = "" if secret else f" is {fault['input']!r}"
    reason = fault["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    return f"The setting {name} from {sources.get(name, DEFAULT)}{value}: {reason}."


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return _HIDDEN
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and "://" in value:
        return without_secrets(value)
    return list(value) if isinstance(value, tuple) else value
