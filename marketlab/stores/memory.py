"""`memory://`: a store for tests and short notebooks; it is gone with the process."""

from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import ClassVar, Self

import polars as pl

from marketlab import tables
from marketlab.errors import StoreUnavailable
from marketlab.stores.contract import Batching, Commit, Coverage, Moment
from marketlab.stores.selection import Selection, accepted, cover, pieces
from marketlab.stores.upsert import changes

__all__ = ["SCHEMES", "MemoryStore", "from_url"]

SCHEMES = ("memory",)


def from_url(url: str) -> "MemoryStore":
    """A new, empty store; two openings share nothing."""
    return MemoryStore(url)


class MemoryStore:
    """Tables in memory. Safe to use from several threads."""

    scheme: ClassVar[str] = "memory"
    batching: Batching = Batching(rows=10_000, seconds=1.0, bytes=16_000_000)

    def __init__(self, url: str = "memory://") -> None:
        self.url = url
        self.spool: Path | None = None
        self._tables: dict[str, pl.DataFrame] = {}
        self._lock = Lock()
        self._closed = False

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        """Store a table; returns how many rows are new or better. See `marketlab.stores.contract.Store.write`."""
        batch = accepted(name, table)
        key = list(tables.spec(name).key)
        with self._lock:
            held = self._held(name)
            found = changes(name, held, batch)
            if found.rows:
                kept = held.join(found.better, on=key, how="anti", maintain_order="left")
                self._tables[name] = pl.concat([kept, found.better, found.new])
        return found.rows

    def read(
        self,
        name: str,
        *,
        exchange: str | None = None,
        symbol: str | None = None,
        interval: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        columns: list[str] | None = None,
        include_open: bool = False,
    ) -> pl.DataFrame:
        """Rows with start <= time < end, in order. See `marketlab.stores.contract.Store.read`."""
        wanted = Selection.of(
            name,
            exchange=exchange,
            symbol=symbol,
            interval=interval,
            start=start,
            end=end,
            columns=columns,
            include_open=include_open,
        )
        with self._lock:
            held = self._held(name)
            known = {pair for table in self._tables.values() for pair in _instruments(table)}
        wanted.require_known(known, self.url)
        return wanted.finish(wanted.of_table(held), is_unique=True)

    def batches(
        self,
        name: str,
        *,
        exchange: str | None = None,
        symbol: str | None = None,
        interval: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        columns: list[str] | None = None,
        include_open: bool = False,
        rows: int = 100_000,
    ) -> Iterator[pl.DataFrame]:
        """The same rows as `read`, in the same order, in pieces of about `rows`."""
        whole = self.read(
            name,
            exchange=exchange,
            symbol=symbol,
            interval=interval,
            start=start,
            end=end,
            columns=columns,
            include_open=include_open,
        )
        return pieces([whole], rows)

    def scan(self, name: str) -> pl.LazyFrame:
        """The whole table, lazily. See `marketlab.stores.contract.Store.scan`."""
        with self._lock:
            return self._held(name).lazy()

    def coverage(self, name: str, *, symbol: str | None = None) -> list[Coverage]:
        """What is stored, by exchange, symbol and interval; open klines are not counted."""
        wanted = Selection.of(name, symbol=symbol)
        with self._lock:
            held = self._held(name)
        return cover(name, wanted.of_table(held).lazy())

    def delete(
        self,
        name: str,
        *,
        exchange: str | None = None,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> int:
        """Remove rows with start <= time < end; returns how many."""
        going = Selection.of(name, exchange=exchange, symbol=symbol, start=start, end=end).expression
        with self._lock:
            held = self._held(name)
            kept = held.clear() if going is None else held.filter(~going)
            self._tables[name] = kept
        return held.height - kept.height

    def close(self) -> None:
        """Forget everything; twice is once."""
        self._closed = True
        self._tables = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _held(self, name: str) -> pl.DataFrame:
        if self._closed:
            raise StoreUnavailable(f"{self.url} is closed; open it again.")
        held = self._tables.get(name)
        return tables.empty(name) if held is None else held


def _instruments(table: pl.DataFrame) -> list[tuple[str, str]]:
    return [(exchange, symbol) for exchange, symbol in table.select("exchange", "symbol").unique().iter_rows()]
