"""`memory://`: a store for tests and short notebooks; it is gone with the process."""

from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from marketlab import tables
from marketlab.errors import StoreUnavailable
from marketlab.stores.accepting import accepted
from marketlab.stores.asking import Asking
from marketlab.stores.contract import Batching, Commit, Coverage
from marketlab.stores.selection import Selection, cover, pieces
from marketlab.stores.upsert import changes

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["SCHEMES", "MemoryStore", "from_url"]

SCHEMES = ("memory",)


def from_url(url: str, settings: "Settings | None" = None) -> "MemoryStore":
    """A new, empty store; two openings share nothing."""
    return MemoryStore(url)


class MemoryStore(Asking):
    """Tables in memory. Safe to use from several threads."""

    scheme: ClassVar[str] = "memory"
    overwrites: ClassVar[bool] = False
    batching: Batching = Batching(rows=10_000, seconds=1.0, bytes=16_000_000)

    def __init__(self, url: str = "memory://") -> None:
        self.url = url
        self.spool: Path | None = None
        self._tables: dict[str, pl.DataFrame] = {}
        self._lock = Lock()
        self._closed = False

    @property
    def exists(self) -> bool:
        """Always: see `marketlab.stores.contract.Store.exists`."""
        return True

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

    def sandbox(self) -> "MemoryStore":
        """Another store in memory. See `marketlab.stores.contract.Store.sandbox`."""
        return MemoryStore()

    def close(self) -> None:
        """Forget everything; twice is once."""
        self._closed = True
        self._tables = {}

    def _find(self, wanted: Selection) -> pl.DataFrame:
        with self._lock:
            held = self._held(wanted.table.name)
            known = {pair for table in self._tables.values() for pair in _instruments(table)}
        wanted.require_known(known, self.url)
        return wanted.finish(wanted.of_table(held), is_unique=True)

    def _find_in_pieces(self, wanted: Selection, rows: int) -> Iterator[pl.DataFrame]:
        return pieces([self._find(wanted)], rows)

    def _remove(self, going: Selection) -> int:
        name = going.table.name
        with self._lock:
            held = self._held(name)
            kept = held.clear() if going.expression is None else held.filter(~going.expression)
            self._tables[name] = kept
        return held.height - kept.height

    def _held(self, name: str) -> pl.DataFrame:
        if self._closed:
            raise StoreUnavailable(f"{self.url} is closed; open it again.")
        held = self._tables.get(name)
        return tables.empty(name) if held is None else held


def _instruments(table: pl.DataFrame) -> list[tuple[str, str]]:
    return [(exchange, symbol) for exchange, symbol in table.select("exchange", "symbol").unique().iter_rows()]
