"""Where the conformance suite finds each kind of store: an empty place of its own for every test.

A place takes the test's request (for the fixture of its server) and folder, and gives what opens it, again and again.
One whose server is to be found in the environment alone skips where it is not set, by `elsewhere`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import psycopg
import pytest

from marketlab.stores.contract import Store
from marketlab.stores.open import open_store

__all__ = ["PLACES", "Place", "elsewhere"]

Place: TypeAlias = Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Callable[[], Store]]]


def elsewhere(name: str) -> str:
    """A server that the environment names, as `MARKETLAB_TEST_INFLUXDB2_URL`; skips where it does not."""
    url = os.environ.get(name)
    if not url:
        pytest.skip(f"{name} is not set")
    return url


@contextmanager
def memory(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    yield lambda: open_store("memory://")


@contextmanager
def delta(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    yield lambda: open_store(f"delta://{folder}/store")


@contextmanager
def postgresql(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    with _schema(request.getfixturevalue("postgres").url) as url:
        yield lambda: open_store(url)


@contextmanager
def timescale(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Store]]:
    with _schema(elsewhere("MARKETLAB_TEST_TIMESCALE_URL")) as url:
        yield lambda: open_store(url)


@contextmanager
def _schema(url: str) -> Iterator[str]:
    """The URL of a schema of its own, which is dropped at the end."""
    name = f"test_{uuid4().hex}"
    yield f"{url}{'&' if '?' in url else '?'}schema={name}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"drop schema if exists {name} cascade".encode())


PLACES: dict[str, Place] = {"memory": memory, "delta": delta, "postgresql": postgresql, "timescale": timescale}
