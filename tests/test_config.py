import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlab.config import Settings, load_settings, names_in_environment, without_secrets
from marketlab.errors import UsageError


def settings_in(folder: Path, environ: dict[str, str] | None = None, **overrides: Any) -> Settings:
    return load_settings(folder=folder, environ=environ or {}, **overrides)


def shown(settings: Settings) -> dict[str, Any]:
    return {setting.name: setting.value for setting in settings.shown()}


def test_defaults_hold_where_nothing_is_set(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert settings.store == "delta://marketdata"
    assert settings.exchange == "binance"
    assert settings.symbols == ()
    assert {setting.source for setting in settings.shown()} == {"default"}


def test_the_first_place_that_names_a_setting_decides(tmp_path: Path) -> None:
    (tmp_path / "marketlab.toml").write_text(
        'store = "delta://toml"\nexchange = "toml"\nlog_level = "error"\napi_port = 1\n'
    )
    (tmp_path / ".env").write_text("MARKETLAB_STORE=delta://dotenv\nMARKETLAB_EXCHANGE=dotenv\nAPI_PORT=2\n")
    environ = {"MARKETLAB_STORE": "delta://environment", "MARKETLAB_EXCHANGE": "environment"}
    settings = settings_in(tmp_path, environ, store="delta://option")
    assert (settings.store, settings.source("store")) == ("delta://option", "the command line")
    assert (settings.exchange, settings.source("exchange")) == ("environment", "the environment")
    assert (settings.api_port, settings.source("api_port")) == (2, ".env")
    assert (settings.log_level, settings.source("log_level")) == ("error", "marketlab.toml")
    assert (settings.interval, settings.source("interval")) == ("1m", "default")


def test_an_option_that_was_not_given_decides_nothing(tmp_path: Path) -> None:
    assert settings_in(tmp_path, {"MARKETLAB_STORE": "memory://"}, store=None).store == "memory://"


def test_an_empty_variable_decides_nothing(tmp_path: Path) -> None:
    assert settings_in(tmp_path, {"MARKETLAB_STORE": ""}).store == "delta://marketdata"


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("SYMBOLS", "BTCUSDT,ethusdt", "symbols", ("BTCUSDT", "ethusdt")),
        ("BINANCE_SYMBOL", "BTCUSDT", "symbols", ("BTCUSDT",)),
        ("MARKETLAB_SYMBOLS", "BTCUSDT ETH/USDT", "symbols", ("BTCUSDT", "ETH/USDT")),
        ("STREAMS", "trade, kline_5m", "channels", ("trade", "kline_5m")),
        ("BINANCE_INTERVAL", "5m", "interval", "5m"),
        ("FLUSH_BATCH_SIZE", "500", "flush_rows", 500),
        ("FLUSH_INTERVAL_MS", "10000", "flush_ms", 10_000),
        ("API_HOST", "0.0.0.0", "api_host", "0.0.0.0"),
        ("API_PORT", "9000", "api_port", 9000),
        ("INFLUXDB_HOST", "localhost", "influxdb_host", "localhost"),
        ("INFLUXDB_DATABASE", "crypto", "influxdb_database", "crypto"),
        ("INFLUXDB_ORG", "lab", "influxdb_org", "lab"),
        ("POSTGRES_HOST", "db", "postgres_host", "db"),
        ("POSTGRES_PORT", "5433", "postgres_port", 5433),
        ("POSTGRES_USER", "me", "postgres_user", "me"),
        ("POSTGRES_DB", "market", "postgres_db", "market"),
        ("REDIS_HOST", "cache", "redis_host", "cache"),
        ("REDIS_PORT", "6380", "redis_port", 6380),
        ("REDIS_DB", "3", "redis_db", 3),
    ],
)
def test_the_usual_names_are_understood(tmp_path: Path, name: str, text: str, field: str, value: object) -> None:
    assert getattr(settings_in(tmp_path, {name: text}), field) == value


def test_our_own_name_beats_the_usual_one(tmp_path: Path) -> None:
    environ = {"API_PORT": "1", "MARKETLAB_API_PORT": "2"}
    assert settings_in(tmp_path, environ).api_port == 2


def test_a_variable_without_the_prefix_is_not_ours(tmp_path: Path) -> None:
    assert settings_in(tmp_path, {"STORE": "memory://", "EXCHANGE": "x"}).store == "delta://marketdata"


def test_every_setting_has_a_name_of_its_own_in_the_environment() -> None:
    for field, names in names_in_environment().items():
        assert names[0] == f"MARKETLAB_{field.upper()}"


def test_kline_alone_stands_for_the_interval_that_is_set(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, {"STREAMS": "trade,kline,kline_1h", "BINANCE_INTERVAL": "15m"})
    assert settings.subscribed == ("trade", "kline_15m", "kline_1h")


def test_lists_are_lists_in_toml(tmp_path: Path) -> None:
    (tmp_path / "marketlab.toml").write_text('symbols = ["BTCUSDT", "ETHUSDT"]\n')
    assert settings_in(tmp_path).symbols == ("BTCUSDT", "ETHUSDT")


def test_secrets_are_never_printed(tmp_path: Path) -> None:
    environ = {
        "INFLUXDB_TOKEN": "hush-influx",
        "POSTGRES_PASSWORD": "hush-postgres",
        "REDIS_PASSWORD": "hush-redis",
        "MARKETLAB_STORE": "postgresql://me:hush-url@db/market?password=hush-query",
        "MARKETLAB_PROXY": "socks5://me:hush@proxy:1080",
    }
    settings = settings_in(tmp_path, environ)
    assert settings.influxdb_token is not None
    assert settings.influxdb_token.get_secret_value() == "hush-influx"
    assert "hush" not in str(list(settings.shown()))
    assert shown(settings)["store"] == "postgresql://db/market"
    assert shown(settings)["proxy"] == "socks5://proxy:1080"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("delta://marketdata", "delta://marketdata"),
        ("delta:///srv/marketdata", "delta:///srv/marketdata"),
        ("influxdb://host:8086/db?token=t", "influxdb://host:8086/db"),
        ("postgresql://a:p@ss@host/db", "postgresql://host/db"),
        ("redis://:pw@host:6379/0", "redis://host:6379/0"),
        ("redis://:p#/w@host:6379/0", "redis://host:6379/0"),
        ("delta://folder/of@somebody", "delta://folder/of@somebody"),
        ("postgresql:///db?host=/run/me@here", "postgresql:///db"),
        ("redis://u:p?w@host", "redis://..."),
        ("influxdb://host/db?token=t@x", "influxdb://..."),
        ("me:pw@host/db?token=t", "host/db"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, text: str) -> None:
    assert without_secrets(url) == text


# Not what separates one option from the next.
PASSWORDS = st.text().filter(lambda text: "&" not in text).map(lambda text: f"hush{text}hush")


@given(password=PASSWORDS, form=st.sampled_from(["x://{}@h/d", "x://me:{}@h:1?o=1", "x://h/d?o=1&token={}", "{}@h/d"]))
def test_no_password_is_ever_shown(password: str, form: str) -> None:
    for options in (True, False):
        assert "hush" not in without_secrets(form.format(password), options=options)


def test_options_that_are_no_secret_may_be_shown_as_they_were_written() -> None:
    url = "postgresql://me:pw@host/db?schema=a%20b&%70assword=pw&sslmode=require&pw"
    assert without_secrets(url, options=True) == "postgresql://host/db?schema=a%20b&sslmode=require"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"FLUSH_BATCH_SIZE": "many"},
            "The setting flush_rows from the environment is 'many': input should be a valid integer",
        ),
        ({"API_PORT": "70000"}, "The setting api_port from the environment is '70000': input should be less than"),
        (
            {"MARKETLAB_LOG_LEVEL": "loud"},
            "The setting log_level from the environment is 'loud': input should be 'debug'",
        ),
    ],
)
def test_a_bad_setting_is_one_sentence_that_names_it(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings_in(tmp_path, environ)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_bad_secret_is_named_but_not_printed(tmp_path: Path) -> None:
    (tmp_path / "marketlab.toml").write_text("influxdb_token = 12345\n")
    with pytest.raises(UsageError) as caught:
        settings_in(tmp_path)
    assert "influxdb_token from marketlab.toml" in str(caught.value)
    assert "12345" not in str(caught.value)


def test_an_unknown_setting_in_the_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "marketlab.toml").write_text('stroe = "memory://"\n')
    with pytest.raises(UsageError, match=r"marketlab.toml names an unknown setting 'stroe'. Did you mean store\?"):
        settings_in(tmp_path)


def test_a_mistyped_variable_names_the_nearest(tmp_path: Path) -> None:
    message = r"names an unknown setting 'MARKETLAB_STROE'. Did you mean MARKETLAB_STORE\?"
    with pytest.raises(UsageError, match=f"^The environment {message}"):
        settings_in(tmp_path, {"MARKETLAB_STROE": "memory://"})
    (tmp_path / ".env").write_text("marketlab_stroe=memory://\n")
    with pytest.raises(UsageError, match=f"\\.env {message}"):
        settings_in(tmp_path)


@pytest.mark.parametrize(
    "name", ["MARKETLAB_FULL", "MARKETLAB_REQUIRE", "MARKETLAB_CRASH_AT", "MARKETLAB_TEST_X", "MARKETLABS"]
)
def test_what_tests_go_by_is_no_setting(tmp_path: Path, name: str) -> None:
    assert settings_in(tmp_path, {name: "1"}).store == "delta://marketdata"


@pytest.mark.parametrize(("name", "scheme"), [("ws_url", "ws"), ("rest_url", "http")])
def test_an_address_says_how_it_is_spoken_to(tmp_path: Path, name: str, scheme: str) -> None:
    for good in (f"{scheme}://127.0.0.1:9000", f"{scheme}s://x"):
        given: dict[str, Any] = {name: good}
        assert getattr(settings_in(tmp_path, **given), name) == good
    for bad in ("127.0.0.1:9000", f"{scheme}://", "ftp://x", "nonsense"):
        given = {name: bad}
        with pytest.raises(UsageError) as caught:
            settings_in(tmp_path, **given)
        assert str(caught.value) == (
            f"The setting {name} from the command line is {bad!r}: "
            f"it should begin with {scheme}:// or {scheme}s://, then a host."
        )


def test_an_unknown_override_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown setting 'qqq'"):
        settings_in(tmp_path, qqq=1)


@pytest.mark.parametrize("content", [b"store = \n", b"store = '\xff'\n"])
def test_an_unreadable_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "marketlab.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"marketlab\.toml is unreadable: "):
        settings_in(tmp_path)


def test_an_unreadable_dotenv_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"MARKETLAB_STORE=\xff\n")
    with pytest.raises(UsageError, match=r"\.env is unreadable: "):
        settings_in(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file of /proc that cannot be read")
def test_a_forbidden_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "marketlab.toml").symlink_to("/proc/self/mem")
    with pytest.raises(UsageError, match=r"marketlab\.toml is unreadable: "):
        settings_in(tmp_path)


def test_the_real_environment_and_folder_are_the_default(tmp_path: Path) -> None:
    (tmp_path / "marketlab.toml").write_text('exchange = "from_toml"\n')
    script = "from marketlab.config import load_settings as s; print(s().store, s().exchange)"
    environ = os.environ | {"MARKETLAB_STORE": "memory://"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.stdout == "memory:// from_toml\n", done.stderr
