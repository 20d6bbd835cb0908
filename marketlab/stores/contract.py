"""A store accepts tables and gives them back.

Promises of every store: `write` is idempotent by key; of two rows with one key the better one stays (see
`marketlab.tables.unique`); `read` is sorted by time, then id, and unique by key; an answer is whole or an error.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, TypeAlias

import msgspec

if TYPE_CHECKING:
    import polars as pl

__all__ = ["USUAL_TRIES", "Batching", "Commit", "Coverage", "Moment", "Queue", "Sink", "Store", "Taken"]

Moment: TypeAlias = str | int | date | datetime
"""A point in time: text without a zone is UTC, an integer is microseconds since 1970 UTC."""


class Batching(msgspec.Struct, frozen=True):
    """How a store likes its batches: whichever limit is met first closes one.

    Under backlog, batches that wait are handed over together, up to `most` rows; 0: one at a time.
    """

    rows: int
    seconds: float
    bytes: int
    most: int = 0


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


class Sink(Protocol):
    """Somewhere to write to: a store, or the queue before one."""

    scheme: ClassVar[str]
    url: str
    """Where it is, without secrets."""
    batching: Batching
    spool: Path | None
    """Where a writer keeps what is not written yet, if it has a place of its own; None: as the settings say."""

    def write(self, name: str, table: "pl.DataFrame", commit: Commit | None = None) -> int:
        """Store a table; returns how many rows are new or better than what was there.

        A sink that overwrites without looking (see `Store.overwrites`) counts what it has written. With a `commit` the
        same batch may be handed over again after a crash.

        Raises:
            WriteRejected: rows do not fit. Where the error names them, nothing of the table was stored; where it does
                not, some of it may be, and writing it again in parts doubles nothing.
            StoreDenied: a wrong token, a missing database and the like.
            StoreUnavailable: try again later, after `retry_after` seconds if the error says so; writing the same again
                doubles nothing.
        """
        ...

    def close(self) -> None:
        """Let go of what is held; twice is once."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Sink, Protocol):
    """History behind one contract; one conformance suite runs over all of them."""

    overwrites: ClassVar[bool]
    """Whether the last of several rows with one key and time stays instead of the first (klines, gaps and tickers: the
    better one stays everywhere), because the store does not look before it writes."""

    @property
    def exists(self) -> bool:
        """Whether there is a store at the URL yet; opening one makes nothing, so a misspelt URL answers with no rows."""
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

    def query(self, text: str) -> "pl.DataFrame":
        """What the store answers to a question in its own language: SQL, InfluxQL or Flux.

        Raises:
            UsageError: the store does not understand it; the error says why, in the store's words.
            StoreUnavailable: the store does not answer, or its answer broke off.
        """
        ...

    def sandbox(self) -> "Store":
        """An empty store at the same place, reached in the same way, whose tables lie apart; closing it removes them."""
        ...


USUAL_TRIES = 3
"""How often a batch may be handed out before there is something wrong with it rather than with those who took it."""


class Taken(msgspec.Struct, frozen=True):
    """A batch that a queue has handed out and not yet forgotten; `tries` counts how often it was handed out.

    `table` is None where what is in the queue is no table of ours; `content` is what is there.
    """

    id: str
    consumer: str
    name: str
    table: "pl.DataFrame | None"
    content: bytes
    rows: int
    tries: int


class Queue(Sink, Protocol):
    """A bounded queue of batches between those who collect and those who store; several may take from it.

    A full queue raises StoreUnavailable on `write` and never drops a batch: what it does not take waits in the spool.
    A batch may be handed out twice, as when whoever had it seemed to be gone: storing it twice must double nothing.
    """

    def take(self, consumer: str, *, rows: int, wait: float, idle: float) -> "list[Taken]":
        """Batches of about `rows` rows in all for one of those who store, oldest first; [] after `wait` seconds without.

        Batches that another one has taken and not acknowledged for `idle` seconds are taken over first. One that was
        handed out `USUAL_TRIES` times comes when there is nothing else, and alone.

        Raises:
            StoreUnavailable: the queue does not answer.
        """
        ...

    def hold(self, taken: "Iterable[Taken]") -> None:
        """These are still worked on: nobody takes them over before they have been idle anew.

        What another one has taken over already stays theirs.

        Raises:
            StoreUnavailable: the queue does not answer.
        """
        ...

    def give_back(self, taken: "Iterable[Taken]") -> None:
        """These will not be stored by whoever took them: the next to ask may have them, without waiting.

        Raises:
            StoreUnavailable: the queue does not answer; they will be handed out when they have been idle.
        """
        ...

    def acknowledge(self, taken: "Iterable[Taken]") -> None:
        """These are stored: forget them.

        Raises:
            StoreUnavailable: the queue does not answer; they will be handed out again.
        """
        ...

    def waiting(self) -> int:
        """How many batches are not acknowledged yet.

        Raises:
            StoreUnavailable: the queue does not answer.
        """
        ...

    def sandbox(self) -> "Queue":
        """An empty queue at the same place, reached in the same way, that nobody else takes from or looks at; closing it
        removes it."""
        ...
