"""What a URL and the settings say together, and what of it is shown."""

import subprocess
import sys

import pytest

from marketlab.config import Settings, load_settings
from marketlab.errors import UsageError
from marketlab.stores.postgresql import from_url
from marketlab.stores.postgresql.address import Address

SETTINGS = load_settings(
    environ={
        "POSTGRES_HOST": "db.example",
        "POSTGRES_PORT": "6543",
        "POSTGRES_USER": "ann",
        "POSTGRES_PASSWORD": "hush",
        "POSTGRES_DB": "market",
    }
)


def told(url: str, settings: Settings | None = SETTINGS) -> dict[str, str]:
    names = ("host", "port", "user", "password", "dbname")
    parameters = Address.of(url, settings).parameters
    return {name: parameters[name] for name in names if name in parameters}


def test_the_scheme_alone_is_enough_where_the_settings_say_the_rest() -> None:
    whole = {"host": "db.example", "port": "6543", "user": "ann", "password": "hush", "dbname": "market"}
    assert told("postgresql://") == whole
    assert told("postgresql:///other") == {**whole, "dbname": "other"}
    assert told("postgresql://bob:b%40b@[::1]:1/x") == {
        "host": "::1", "port": "1", "user": "bob", "password": "b@b", "dbname": "x"
    }  # fmt: skip
    assert told("postgresql://", None) == {}


def test_what_libpq_can_be_told_may_stand_in_the_url() -> None:
    address = Address.of("postgresql://h/d?sslmode=require&schema=my%20+own&connect_timeout=3&application_name=a%20b")
    assert address.schema == "my +own"
    assert address.parameters["application_name"] == "a b"
    assert (address.parameters["sslmode"], address.parameters["connect_timeout"]) == ("require", "3")
    assert Address.of("postgresql://h/d").parameters["connect_timeout"] == "10"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:hush@db.example:6543/market", "postgresql://db.example:6543/market"),
        ("postgresql://ann:hush@db.example/market?schema=a%26b", "postgresql://db.example/market?schema=a%26b"),
        ("postgresql://ann:hush@[::1]:1/market?schema=public", "postgresql://[::1]:1/market"),
        ("postgresql:///market?host=/run/postgresql&password=hush", "postgresql:///market"),
    ],
)
def test_a_store_shows_where_it_is_and_never_how_to_get_in(url: str, shown: str) -> None:
    store = from_url(url)
    assert store.url == shown
    assert repr(store) == f"<PostgresStore {shown}>"
    address = Address.of(url)
    assert "hush" not in f"{address!r}{address!s}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hush@host:port/market",
        "postgresql://ann:hush@[::1/market",
        "postgresql://ann:hu?sh@host/market",
        "postgresql://ann:%zzhush@host/market",
        "postgresql://ann:1/hush@host/market",
        "postgresql://ann:1@hush@host/market",
        "postgresql://ann:1?schema=hush@host/market",
        "postgresql://ann:hush@host/market?password=hush&color=red",
        "postgresql://ann:hush@host/market?schema=",
        "postgresql://ann:hush@host/market?schema=pg_mine",
        f"postgresql://ann:hush@host/market?schema={'x' * 64}",
    ],
)
def test_what_is_no_url_is_told_without_repeating_the_password(url: str) -> None:
    with pytest.raises(UsageError, match="postgresql://user:password@host:5432/database") as caught:
        Address.of(url)
    assert "hush" not in str(caught.value)
    assert "sh@" not in str(caught.value)


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(UsageError, match="color"):
        from_url("postgresql://host/market?color=red")


@pytest.mark.parametrize("module", ["psycopg", "psycopg.pq"])
def test_without_its_package_a_store_says_what_to_install(module: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from marketlab.errors import MissingDependency\n"
        "from marketlab.stores.open import open_store, schemes\n"
        "try: open_store('postgresql://')\n"
        "except MissingDependency as error: print(error, 'postgresql' in schemes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "A postgresql:// store needs the package psycopg: run pip install 'marketlab[postgres]'" in done.stdout
    assert done.stdout.endswith("True\n")
