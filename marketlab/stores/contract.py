"""A store accepts tables and gives them back.

Promises of every store: `write` is idempotent by key; of two rows with one key the better one stays (see
`marketlab.tables.unique`); `read` is sorted by time, then id, and unique by key; an answer is whole or an error.
"""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, TypeAlias

import msgspec

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Batching", "Commit", "Coverage", "Moment", "Store"]

Moment: TypeAlias = str | int | date | datetime
"""A point in time: text without a zone is UTC, an integer is microseconds since 1970 UTC."""


class Batching(msgspec.Struct, frozen=True):
    """How a store likes its batches: whichever limit is met first closes one."""

    rows: int
    seconds: float
    bytes: int


class Commit(msgspec.Struct, frozen=True):
    """Names a batch for good, so that a store can tell that it already has it."""

    writer: str
    segment: int


class Coverage(msgspec.Struct, frozen=True):
    """What a store holds of one symbol (and interval): rows, and the first and last time in microseconds."""

    exchange: str
    symbol: str
    interval: str | None
    rows: int
    first: int
    last: int


class Store(Protocol):
    """History behind one contract; one conformance suite runs over all of them."""

    scheme: ClassVar[str]
    url: str
    """Where the store is, without secrets."""
    batching: Batching
    spool: Path | None
    """Where a writer keeps what this store does not have yet, and where `read` looks for it; None: nowhere."""

    @property
    def exists(self) -> bool:
        """Whether there is a store at the URL yet; opening one makes nothing, so a misspelt URL answers with no rows."""
        ...

    def write(self, name: str, table: "pl.DataFrame", commit: Commit | None = None) -> int:
        """Store a table; returns how many rows are new or better than what was there.

        With a `commit` the same batch may be handed over again after a crash.

        Raises:
            WriteRejected: rows do not fit; nothing of the table was stored.
            StoreUnavailable: try again later; nothing or all of the table was stored.
        """
        ...

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
    ) -> "pl.DataFrame":
        """Rows with start <= time < end; an empty table with the schema where nothing is stored.

        Raises:
            UsageError: no such table or column, or a symbol that the store has never seen.
            StoreUnavailable: the store does not answer.
        """
        ...

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
    ) -> "Iterator[pl.DataFrame]":
        """The same rows as `read`, in the same order, in pieces of about `rows`."""
        ...

    def scan(self, name: str) -> "pl.LazyFrame":
        """The whole table, lazily, with closed and open klines, unique by key, in no promised order."""
        ...

    def coverage(self, name: str, *, symbol: str | None = None) -> list[Coverage]:
        """What is stored, by exchange, symbol and interval."""
        ...

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
        ...

    def close(self) -> None:
        """Let go of what the store holds; twice is once."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
