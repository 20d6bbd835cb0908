"""A store that is asked again while it does not answer, and whose refusals do not end a long job."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import polars as pl

from marketlab import tables
from marketlab.errors import StoreDenied, StoreUnavailable, UnknownExchange, UnknownSymbol, WriteRejected
from marketlab.stores.contract import Coverage, Store

__all__ = ["PAUSES_S", "Patient", "Refusal", "moment"]

Answer = TypeVar("Answer")
Refusal = Callable[[pl.DataFrame, str], None]

PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0)
"""How long a store is left alone between two tries, unless it says itself."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(micros: int) -> datetime:
    """Microseconds since 1970 UTC as a time."""
    return _EPOCH + timedelta(microseconds=micros)


class Patient:
    """A store, and how to wait for it: what fails before it has ever answered is raised at once.

    Every method raises StoreUnavailable when the last pause is over, and StoreDenied at once.
    """

    def __init__(self, store: Store, pause: Callable[[float], None]) -> None:
        self.store = store
        self._pause = pause
        self._has_answered = False

    def coverage(self, name: str, symbols: list[str]) -> list[Coverage]:
        """What is stored of these symbols; without any, of all."""
        if not symbols:
            return self._ask(partial(self.store.coverage, name))
        return [held for symbol in symbols for held in self._ask(partial(self.store.coverage, name, symbol=symbol))]

    def batches(self, name: str, first: int | None, last: int | None, **question: Any) -> Iterator[pl.DataFrame]:
        """Rows with first <= time <= last in pieces, as `Store.batches` gives them, each with the columns of the key.

        An answer that breaks off goes on behind the last row that came. A symbol that was never seen has no rows.
        """
        spec = tables.spec(name)
        seen: pl.DataFrame | None = None
        tries = iter(PAUSES_S)
        while True:
            start = None if first is None else moment(first)
            end = None if last is None else moment(last + 1)
            try:
                for batch in self.store.batches(name, start=start, end=end, **question):
                    times = batch.get_column(spec.time).cast(pl.Int64)
                    new = batch if seen is None else batch.join(seen, on=spec.key, how="anti", maintain_order="left")
                    first, self._has_answered, tries = int(times[-1]), True, iter(PAUSES_S)
                    seen = batch.filter(times == first).select(spec.key)
                    yield new
                return
            except (UnknownSymbol, UnknownExchange):
                return
            except StoreUnavailable as error:
                self._wait(error, tries)

    def write(self, name: str, table: pl.DataFrame, refused: Refusal) -> int:
        """Store what the store takes of a table; returns how many rows were new or better, as `Store.write` does.

        `refused` is called with the rows that it does not take and with its words.
        """
        left, changed = [table], 0
        while left:
            batch = left.pop()
            try:
                changed += self._ask(partial(self.store.write, name, batch))
            except WriteRejected as error:
                rows = sorted(error.rows) or ([0] if batch.height == 1 else [])
                if rows:
                    is_refused = pl.int_range(pl.len()).is_in(rows)
                    refused(batch.filter(is_refused), str(error))
                    left += [rest for rest in [batch.filter(~is_refused)] if rest.height]
                else:
                    # It does not say which: found out by halves.
                    left += [batch.slice(batch.height // 2), batch.head(batch.height // 2)]
        return changed

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        tries = iter(PAUSES_S)
        while True:
            try:
                answer = question()
            except StoreUnavailable as error:
                self._wait(error, tries)
            else:
                self._has_answered = True
                return answer

    def _wait(self, error: StoreUnavailable, tries: Iterator[float]) -> None:
        seconds = next(tries, None)
        if seconds is None or isinstance(error, StoreDenied) or not self._has_answered:
            raise error
        self._pause(seconds if error.retry_after is None else error.retry_after)
