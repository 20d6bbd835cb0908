"""Where the conformance suite finds each kind of store: an empty place of its own for every test.

A place takes the test's request (for the fixture of its server) and folder, and gives what opens it, again and again.
One whose server is to be found in the environment alone skips where it is not set, by `elsewhere`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from marketlab import tables
from marketlab.stores.contract import Store
from marketlab.stores.delta import DeltaStore
from marketlab.stores.open import open_store

from .influxdb.server3.server import Server3
from .postgresql.partitioned import make as partition

__all__ = ["PLACES", "Place", "elsewhere"]

Place: TypeAlias = Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Callable[[], Store]]]


def elsewhere(name: str) -> str:
    """A server that the environment names, as `MARKETLAB_TEST_INFLUXDB2_URL`; skips where it does not."""
    url = os.environ.get(name)
    if not url:
        pytest.skip(f"{name} is not set")
    return url


class Influx(NamedTuple):
    """An InfluxDB server that the environment names, as http(s)://host:port[/database] or influxdb://..."""

    place: str
    tls: bool
    database: str
    token: str
    org: str


def _influx(version: int) -> Influx:
    name = f"MARKETLAB_TEST_INFLUXDB{version}"
    server = urlsplit(elsewhere(f"{name}_URL"))
    place = server.netloc.rpartition("@")[2]
    place = place if server.port else f"{place}:{8181 if version == 3 else 8086}"
    token, org = os.environ.get(f"{name}_TOKEN", ""), os.environ.get(f"{name}_ORG", "")
    return Influx(place, server.scheme == "https", server.path.strip("/"), token, org)


def influxdb2_server() -> Influx:
    """The InfluxDB 2.x of the environment; skips where there is none."""
    return _influx(2)


@contextmanager
def memory(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    yield lambda: open_store("memory://")


@contextmanager
def delta(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    yield lambda: open_store(f"delta://{folder}/store")


@contextmanager
def staged(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    # Each small batch goes by the stage, as those of many symbols do.
    yield lambda: DeltaStore(folder / "store", many_symbols=1)


@contextmanager
def postgresql(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    with _schema(request.getfixturevalue("postgres").url) as url:
        yield lambda: open_store(url)


@contextmanager
def partitioned(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    server = request.getfixturevalue("postgres").url
    with _schema(server) as url:
        partition(server, url.rpartition("=")[2])
        yield lambda: open_store(url)


@contextmanager
def timescale(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    with _schema(elsewhere("MARKETLAB_TEST_TIMESCALE_URL")) as url:
        yield lambda: open_store(url)


@contextmanager
def influxdb1(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    server = request.getfixturevalue("influxdb1")
    database = f"test_{uuid4().hex}"
    yield lambda: open_store(f"{server.url(database)}?create=true")
    httpx.post(f"http://{server.host}/query", data={"q": f'DROP DATABASE "{database}"'}).raise_for_status()


@contextmanager
def influxdb2(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    server = influxdb2_server()
    bucket = f"test_{uuid4().hex}"
    asked = urlencode({"create": "true", "org": server.org, "tls": str(server.tls).lower()})
    yield lambda: open_store(f"influxdb://:{quote(server.token, safe='')}@{server.place}/{bucket}?{asked}")
    base, headers = f"http{'s' * server.tls}://{server.place}", {"Authorization": f"Token {server.token}"}
    with httpx.Client(base_url=base, headers=headers) as client:
        for found in client.get("/api/v2/buckets", params={"name": bucket}).json()["buckets"]:
            client.delete(f"/api/v2/buckets/{found['id']}").raise_for_status()


@contextmanager
def influxdb3(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    with Server3() as server:
        yield lambda: open_store(f"influxdb://{server.host}/test?create=true")


@contextmanager
def influxdb3real(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    server = _influx(3)
    # There is room for five databases, so all tests share one, each with measurements of its own.
    database, prefix = server.database or "marketlab_test", f"t{uuid4().hex[:12]}_"
    asked = urlencode({"create": "true", "prefix": prefix, "tls": str(server.tls).lower()})
    url = f"influxdb://:{quote(server.token, safe='')}@{server.place}/{database}?{asked}"
    yield lambda: open_store(url)
    with open_store(url) as store:
        for name in tables.TABLES:
            store.delete(name)


@contextmanager
def _schema(url: str) -> Iterator[str]:
    """The URL of a schema of its own, which is dropped at the end."""
    name = f"test_{uuid4().hex}"
    yield f"{url}{'&' if '?' in url else '?'}schema={name}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"drop schema if exists {name} cascade".encode())


PLACES: dict[str, Place] = {
    "memory": memory,
    "delta": delta,
    "staged": staged,
    "postgresql": postgresql,
    "partitioned": partitioned,
    "timescale": timescale,
    "influxdb1": influxdb1,
    "influxdb2": influxdb2,
    "influxdb3": influxdb3,
    "influxdb3real": influxdb3real,
}
