"""What every store does alike: turns the arguments of a question into a checked selection, and is a context manager.

A store has three methods of its own behind it: `_find`, `_find_in_pieces` and `_remove`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import polars as pl

from marketlab import tables
from marketlab.errors import UsageError
from marketlab.stores.contract import Moment
from marketlab.stores.selection import Selection

__all__ = ["Asking"]


class Asking(ABC):
    """`read`, `batches` and `delete` of a store, by what it does with a selection."""

    url: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

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
        return self._find(Selection.of(name, exchange, symbol, interval, start, end, columns, include_open))

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
        wanted = Selection.of(name, exchange, symbol, interval, start, end, columns, include_open)
        if rows < 1:
            raise UsageError(f"rows is how many rows a piece has, not {rows!r}.")
        return self._find_in_pieces(wanted, rows)

    def delete(
        self,
        name: str,
        *,
        exchange: str | None = None,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> int:
        """Remove rows with start <= time < end; returns how many. What a spool still holds is not touched."""
        return self._remove(Selection.of(name, exchange, symbol, None, start, end))

    def query(self, text: str) -> pl.DataFrame:
        """What SQL over the tables says, in the dialect of polars. See `marketlab.stores.contract.Store.query`."""
        with pl.SQLContext({name: self.scan(name) for name in tables.TABLES}) as context:
            try:
                return context.execute(text, eager=True)
            except pl.exceptions.PolarsError as error:
                raise UsageError(f"{self.url} does not understand this: {error}") from None

    @abstractmethod
    def scan(self, name: str) -> pl.LazyFrame:
        """The whole table, lazily. See `marketlab.stores.contract.Store.scan`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what the store holds; twice is once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _find(self, wanted: Selection) -> pl.DataFrame: ...

    @abstractmethod
    def _find_in_pieces(self, wanted: Selection, rows: int) -> Iterator[pl.DataFrame]: ...

    @abstractmethod
    def _remove(self, going: Selection) -> int: ...
