"""Where an InfluxDB is: what a URL may say, and what the settings add."""

from typing import Any

import pytest

from marketlab.config import load_settings
from marketlab.errors import UsageError
from marketlab.stores.influxdb.address import Address


def settings(**named: str) -> Any:
    return load_settings(environ={name.upper(): value for name, value in named.items()})


def test_a_url_says_everything() -> None:
    found = Address.of(
        "influxdb://ann:p%40ss@db.example:9999/my%20lab?org=desk&version=2&tls=true&create=yes&prefix=test_"
    )
    assert (found.host, found.port, found.database, found.org, found.version) == (
        "db.example",
        9999,
        "my lab",
        "desk",
        2,
    )
    assert (found.user, found.password, found.token) == ("ann", "p@ss", "")
    assert (found.tls, found.create, found.prefix) == (True, True, "test_")
    assert found.origin == "https://db.example:9999"
    assert found.url == "influxdb://db.example:9999/my%20lab?org=desk&prefix=test_"


def test_a_token_stands_for_a_user() -> None:
    for url in ("influxdb://:t%2Fok==@host/lab", "influxdb://host/lab?token=t%2Fok%3D%3D"):
        found = Address.of(url)
        assert (found.user, found.password, found.token) == ("", "", "t/ok==")


def test_secrets_are_never_shown() -> None:
    found = Address.of("influxdb://ann:secret@host/lab")
    assert "secret" not in repr(found) + found.url + found.origin
    assert "secret" not in repr(Address.of("influxdb://:secret@host/lab"))


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("db", ("db", 8086, False)),
        ("db:9000", ("db", 9000, False)),
        ("https://db", ("db", 8086, True)),
        ("http://db:9000/", ("db", 9000, False)),
    ],
)
def test_what_a_url_leaves_out_comes_from_the_settings(host: str, place: tuple[str, int, bool]) -> None:
    named = settings(influxdb_host=host, influxdb_token="secret", influxdb_database="lab", influxdb_org="desk")
    found = Address.of("influxdb://", named)
    assert (found.host, found.port, found.tls) == place
    assert (found.database, found.org, found.token) == ("lab", "desk", "secret")
    over = Address.of("influxdb://ann:own@other:1/mine?org=o", named)
    assert (over.host, over.port, over.database, over.org, over.token) == ("other", 1, "mine", "o", "")


def test_the_port_is_the_one_of_the_version() -> None:
    assert Address.of("influxdb://host/lab").port == 8086
    assert Address.of("influxdb://host/lab?version=3").port == 8181
    assert Address.of("influxdb://[::1]/lab").origin == "http://[::1]:8086"
    assert Address.of("influxdb://[::1]/lab").is_local


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("influxdb://host", "no database"),
        ("influxdb://host:port/lab", "port"),
        ("influxdb://host:70000/lab", "port"),
        ("influxdb://host/lab?bucket=x", "'bucket'"),
        ("influxdb://host/lab?version=4", "1, 2 or 3"),
        ("influxdb://host/lab?tls=maybe", "true or false"),
        ("influxdb://host/lab?create=perhaps", "true or false"),
        ("influxdb://host/lab?prefix=a%20b", "prefix"),
        ("influxdb://:a#b@host/lab", "%23"),
    ],
)
def test_what_does_not_fit_is_told(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        Address.of(url)
    assert str(caught.value).endswith(".")


def test_a_sandbox_is_the_same_place_under_another_name() -> None:
    one, two = (Address.of("influxdb://:secret@host/lab").sandbox() for _ in range(2))
    assert one.prefix != two.prefix
    assert one.prefix.startswith("sandbox_")
    assert one.url != two.url
    assert (one.host, one.database, one.token) == (two.host, two.database, "secret")
