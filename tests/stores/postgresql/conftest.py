"""Places in PostgreSQL: a schema of its own in the server of all tests, and a server that may be killed."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from uuid import uuid4

import psycopg
import pytest

from marketlab.stores.open import open_store
from marketlab.stores.postgresql.store import PostgresStore

from ...servers import PostgresServer
from . import partitioned


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """Of an empty schema."""
    schema = f"test_{uuid4().hex}"
    yield f"{postgres.url}?schema={schema}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"drop schema if exists {schema} cascade".encode())


@pytest.fixture(params=["plain", "timed"])
def either(request: pytest.FixtureRequest, url: str, postgres: PostgresServer) -> str:
    """Of a schema whose tables are unique by key, and of one where they are unique only together with the time."""
    if request.param == "timed":
        partitioned.make(postgres.url, url.rpartition("=")[2])
    return url


@pytest.fixture
def sql(url: str) -> Iterator[Callable[[str], list[Any]]]:
    """What a neighbour of ours says to the server, in the schema of `url`."""
    server, _, schema = url.partition("?schema=")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"set search_path = {schema}, public".encode())

        def run(text: str) -> list[Any]:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    with opened(url) as store:
        yield store


def opened(url: str) -> PostgresStore:
    store = open_store(url)
    assert isinstance(store, PostgresStore)
    return store


@pytest.fixture(scope="module")
def mortal(absent: Callable[[str, str], NoReturn]) -> Iterator[PostgresServer]:
    """A server of the module's own."""
    reason = PostgresServer.missing()
    if reason is not None:
        absent(PostgresServer.part, reason)
    with PostgresServer() as server:
        yield server
