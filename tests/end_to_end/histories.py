"""Where collectors write to in these tests, and what is there by the word of the database itself.

Our own reading drops doubles; these ask around it.
"""

import io
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import httpx
import polars as pl
import psycopg

from ..servers import InfluxServer, PostgresServer
from .spools import KEYS

__all__ = ["DeltaHistory", "History", "InfluxHistory", "PostgresHistory", "doubled"]

_MEASUREMENTS = {
    "trades": "trade",
    "klines": "crypto_price",
    "quotes": "quote",
    "book_snapshots": "book_snapshot",
    "book_updates": "book_update",
    "gaps": "gap",
}


class History(Protocol):
    """A place of its own for one test. `url` is where to write and read; paths of its spool have `mark` in them."""

    @property
    def url(self) -> str: ...

    @property
    def mark(self) -> str: ...

    def keys(self, name: str) -> pl.DataFrame:
        """The key of every row of a table, doubles and all; quotes with their time, since Binance's have none."""
        ...


def doubled(history: History, name: str) -> int:
    """How many rows too many there are."""
    keys = history.keys(name)
    return keys.height - keys.unique().height


class DeltaHistory:
    """A folder of Delta tables."""

    mark = "_spool"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def url(self) -> str:
        return f"delta://{self.folder}"

    def keys(self, name: str) -> pl.DataFrame:
        if not (self.folder / name).exists():
            return pl.DataFrame({key: [] for key in KEYS[name]})
        return pl.read_delta(str(self.folder / name)).select(KEYS[name])


class InfluxHistory:
    """A database of an InfluxDB 1.x, written through `port` where that is not the server's own."""

    def __init__(self, server: InfluxServer, port: int | None = None, options: str = "") -> None:
        self.database = f"test_{uuid4().hex}"
        self._server = server
        self._port = port or server.port
        self.ask(f"CREATE DATABASE {self.database} {options}")

    @property
    def url(self) -> str:
        return f"influxdb://127.0.0.1:{self._port}/{self.database}"

    @property
    def mark(self) -> str:
        return f"-{self._port}-"

    def ask(self, question: str) -> pl.DataFrame:
        """What the server itself says, with times in nanoseconds."""
        answer = httpx.post(
            f"http://{self._server.host}/query",
            params={"db": self.database, "epoch": "ns", "q": question},
            headers={"Accept": "application/csv"},
            timeout=120,
        ).raise_for_status()
        return pl.read_csv(io.BytesIO(answer.content), infer_schema_length=None) if answer.content else pl.DataFrame()

    def write(self, lines: str) -> None:
        """Points, as they are."""
        httpx.post(
            f"http://{self._server.host}/write", params={"db": self.database, "precision": "n"}, content=lines
        ).raise_for_status()

    def count(self, name: str, symbol: str) -> int:
        """The rows of a symbol."""
        found = self.ask(f"SELECT count(received) FROM \"{_MEASUREMENTS[name]}\" WHERE symbol = '{symbol}'")
        return 0 if found.is_empty() else int(found.item(0, "count"))

    def keys(self, name: str) -> pl.DataFrame:
        found = self.ask(f'SELECT * FROM "{_MEASUREMENTS[name]}"')
        if found.is_empty():
            return found
        if name in ("klines", "gaps"):
            # Series and time are the key: one point by nature.
            return found.select("time", "interval" if name == "klines" else "channel")
        return found.select(*KEYS[name], *(["time"] if name == "quotes" else []))


class PostgresHistory:
    """A database of a PostgreSQL."""

    mark = "postgresql-"

    def __init__(self, server: PostgresServer) -> None:
        self.database = f"test_{uuid4().hex}"
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {self.database}")
        self.url = f"{server.url.rpartition('/')[0]}/{self.database}"

    def keys(self, name: str) -> pl.DataFrame:
        columns = ", ".join(f'"{key}"' for key in KEYS[name])
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(f"SELECT {columns} FROM {name}").fetchall()
        return pl.DataFrame(rows, schema=KEYS[name], orient="row")
