"""A store with moods, and batches for it."""

from collections.abc import Callable, Iterator
from threading import Event

import polars as pl

from marketlab import tables
from marketlab.errors import StoreUnavailable, WriteRejected
from marketlab.records import Trade
from marketlab.stores.contract import Batching, Commit
from marketlab.stores.memory import MemoryStore

__all__ = ["POISON", "MoodyStore", "at_once", "trades"]

POISON = 666.0
MIDNIGHT = 1_723_161_600_000_000


def trades(numbers: range, price: float = 1.5) -> pl.DataFrame:
    """A table of trades; the same number is the same fact."""
    at = MIDNIGHT
    return tables.to_table(
        "trades",
        [Trade("binance", "BTCUSDT", str(n), at + n, price, 0.5, "buy", at + n + 7, "stream") for n in numbers],
    )


def at_once() -> Iterator[float]:
    """Hardly a pause between tries."""
    while True:
        yield 0.001


class MoodyStore(MemoryStore):
    """Is away while it is told to be, waits for `open`, never takes a table with the price POISON, refuses prices below
    zero, and remembers how many rows of what it was handed at a time."""

    def __init__(self, *, rows: int = 10, seconds: float = 0.0, most: int = 0) -> None:
        super().__init__()
        self.batching = Batching(rows=rows, seconds=seconds, bytes=1_000_000, most=most)
        self.is_away: Callable[[], bool] = lambda: False
        self.open = Event()
        self.open.set()
        self.writes: list[tuple[str, int]] = []
        self.commits: set[Commit | None] = set()

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        self.writes.append((name, table.height))
        self.open.wait(60)
        self.commits.add(commit)
        prices = table["price"] if "price" in table.columns else pl.Series([0.0])
        if self.is_away():
            raise StoreUnavailable("The store is away.")
        if (prices == POISON).any():
            raise StoreUnavailable("The store stumbles over this.")
        if (prices < 0).any():
            raise WriteRejected("no price below zero", rows=(prices < 0).arg_true().to_list())
        return super().write(name, table, commit)

    @property
    def ids(self) -> list[int]:
        """The trades that it has."""
        return self.read("trades")["trade_id"].cast(int).to_list()
