"""Tries a store or a queue out: whether a sample that is written comes back as it was, and how long each step takes.

All of it happens in a sandbox, whose tables lie apart and which is removed in the end, so nothing that is stored or
queued is touched, and nobody else gets to see the sample. Every row of it is marked: origin `simulated`, exchange
`marketlab`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import TypeGuard, TypeVar

import msgspec
import polars as pl

from marketlab import tables
from marketlab.config import without_secrets
from marketlab.errors import MarketlabError, StoreError
from marketlab.records import BookSnapshot, Gap, Kline, Quote, Record, Trade
from marketlab.stores.contract import Queue, Sink, Store, Taken

__all__ = ["Step", "Trial", "is_queue", "is_store", "sample", "try_out"]

Box = TypeVar("Box", bound=Sink)

_MINUTE = 60_000_000
_EXCHANGE, _SYMBOL = "marketlab", "TESTUSDT"
_CONSUMER = "marketlab-trial"
_TAKE_S, _TAKEN_OVER_S = 2.0, 600.0


class Step(msgspec.Struct, frozen=True):
    """A step that went well, and how long it took."""

    step: str
    ms: float


class Trial(msgspec.Struct):
    """What came of it: the steps that went well, the tables that came back, and the step that failed, with its error.

    `left` says why the sample could not be removed; "": nothing is left behind.
    """

    url: str
    steps: list[Step] = []
    found: dict[str, pl.DataFrame] = {}
    failed: str = ""
    failure: MarketlabError | None = None
    left: str = ""


def is_queue(sink: Sink) -> TypeGuard[Queue]:
    """Whether batches are taken from it."""
    return hasattr(sink, "take")


def is_store(sink: Sink) -> TypeGuard[Store]:
    """Whether it gives back what was written."""
    return not is_queue(sink)


def sample(now: int) -> dict[str, pl.DataFrame]:
    """Some rows of this moment, by table: records that share a moment, a kline that still runs, nulls, book levels."""
    minute = now - now % _MINUTE
    records: list[Record] = [
        Trade(_EXCHANGE, _SYMBOL, "9223372036854775808", now, 60_000.01, 0.00001, "buy", now, "simulated"),
        Trade(_EXCHANGE, _SYMBOL, "9223372036854775809", now, 60_000.02, 1.5, "sell", now, "simulated"),
        Quote(_EXCHANGE, _SYMBOL, 1, now, 60_000.0, 0.1, 60_000.1, 1e-8, now, "simulated"),
        Quote(_EXCHANGE, _SYMBOL, 2, now, 60_000.0, 0.3, 60_000.2, 12_345_678.9, now, "simulated"),
        _kline(minute - _MINUTE, now, closed=True),
        _kline(minute, now, closed=False),
        BookSnapshot(
            _EXCHANGE, _SYMBOL, 2, now, [(60_000.0, 0.3), (59_999.9, 2.0)], [(60_000.2, 0.1)], 2, True, now, "simulated"
        ),
        Gap(_EXCHANGE, _SYMBOL, "trade", minute, now, "1", "2", "a test", None, None, now, "simulated"),
    ]
    return {name: tables.in_order(name, table) for name, table in tables.to_tables(records).items()}


def _kline(start: int, now: int, *, closed: bool) -> Kline:
    numbers = (60_000.0, 60_000.3, 59_999.9, 60_000.1, 0.1 + 0.2, 18_000.0, 3, 0.1, 6_000.0)
    return Kline(_EXCHANGE, _SYMBOL, "1m", start, start + _MINUTE - 1, *numbers, closed, now, "simulated")


def try_out(url: str, opened: Callable[[], Sink], *, now: int) -> Trial:
    """Write a sample of the moment `now` (microseconds), read it back, compare it cell by cell, delete it.

    A store that fails is told, not raised: the trial says at which step, and why.
    """
    trial = Trial(without_secrets(url))
    try:
        with ExitStack() as ending:
            with _step(trial, "connect"):
                sink = ending.enter_context(opened())
                trial.url = sink.url
                _ = sink.waiting() if is_queue(sink) else is_store(sink) and sink.exists
            if is_queue(sink):
                _pass_through(trial, sink, sample(now))
            elif is_store(sink):
                _store_and_read(trial, sink, sample(now))
    except MarketlabError as error:
        trial.failure = error
    return trial


def _store_and_read(trial: Trial, store: Store, rows: Mapping[str, pl.DataFrame]) -> None:
    with _removing(trial, store.sandbox()) as box:
        with _step(trial, "write"):
            for name, table in rows.items():
                box.write(name, table)
        with _step(trial, "read"):
            for name in rows:
                trial.found[name] = box.read(name, include_open=True)
            _compare(rows, trial.found)
        with _step(trial, "delete"):
            for name in rows:
                box.delete(name)
            box.close()


def _pass_through(trial: Trial, queue: Queue, rows: Mapping[str, pl.DataFrame]) -> None:
    with _removing(trial, queue.sandbox()) as box:
        with _step(trial, "write"):
            for name, table in rows.items():
                box.write(name, table)
        with _step(trial, "take"):
            taken: list[Taken] = []
            while len(taken) < len(rows):
                more = box.take(_CONSUMER, rows=1_000, wait=_TAKE_S, idle=_TAKEN_OVER_S)
                if not more:
                    break
                taken += more
            trial.found = {batch.name: batch.table for batch in taken if batch.table is not None}
            _compare(rows, trial.found)
        with _step(trial, "acknowledge"):
            box.acknowledge(taken)
            if left := box.waiting():
                raise StoreError(f"{left} of {len(taken)} batches are still waiting")
        with _step(trial, "delete"):
            box.close()


@contextmanager
def _step(trial: Trial, name: str) -> Iterator[None]:
    began = perf_counter()
    try:
        yield
    except BaseException:
        trial.failed = name
        raise
    trial.steps.append(Step(name, round((perf_counter() - began) * 1000, 3)))


@contextmanager
def _removing(trial: Trial, box: Box) -> Iterator[Box]:
    try:
        yield box
    except BaseException:
        try:
            box.close()
        except StoreError as error:
            trial.left = str(error)
        raise


def _compare(wrote: Mapping[str, pl.DataFrame], found: Mapping[str, pl.DataFrame]) -> None:
    for name, table in wrote.items():
        came = found.get(name, table.clear())
        if came.height != table.height:
            raise StoreError(f"{came.height} rows of {name} came back instead of {table.height}.")
        for column in table.columns:
            differs = came.get_column(column).ne_missing(table.get_column(column)).arg_true()
            for row in differs:
                was, is_now = table.item(row, column), came.item(row, column)
                raise StoreError(f"{column} of row {row} of {name} came back as {is_now!r} instead of {was!r}.")
