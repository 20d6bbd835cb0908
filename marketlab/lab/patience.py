"""A store that is asked again while it does not answer, and whose refusals do not end a long job."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import polars as pl

from marketlab import tables
from marketlab.errors import StoreDenied, StoreUnavailable, UnknownExchange, UnknownSymbol, WriteRejected
from marketlab.stores.contract import Coverage, Store
from marketlab.stores.retrying import Patience

__all__ = ["PAUSES_S", "Patient", "Refusal", "moment"]

Answer = TypeVar("Answer")
Refusal = Callable[[pl.DataFrame, str], None]

PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0)
"""How long a store is left alone between two tries, unless it asks for longer."""

# As in `marketlab.stores.delivery`.
_PARTS = 4_096
_FEW = 64

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
        self._is_taking: dict[str, bool] = {}  # by table, whether the last write stored any of it

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
        patience = _patience()
        while True:
            start = None if first is None else moment(first)
            end = None if last is None else moment(last + 1)
            try:
                for batch in self.store.batches(name, start=start, end=end, **question):
                    times = batch.get_column(spec.time).cast(pl.Int64)
                    new = batch if seen is None else batch.join(seen, on=spec.key, how="anti", maintain_order="left")
                    reached, self._has_answered, patience = int(times[-1]), True, _patience()
                    # One time may span several batches.
                    known = [seen] if seen is not None and reached == first else []
                    seen = pl.concat([*known, batch.filter(times == reached).select(spec.key)]).unique()
                    first = reached
                    if new.height:
                        yield new
                return
            except (UnknownSymbol, UnknownExchange):
                return
            except StoreUnavailable as error:
                self._wait(error, patience)

    def write(self, name: str, table: pl.DataFrame, refused: Refusal) -> int:
        """Store what the store takes of a table; returns how many rows were new or better, as `Store.write` does.

        `refused` is called with the rows that it does not take and with its words. Where the store does not say which, no
        more than a few thousand parts are tried, and few while it has taken nothing of that table: what is refused then
        counts as a whole.
        """
        left, changed, parts = [table], 0, 0
        self._is_taking[name], has_taken = False, self._is_taking.get(name, False)
        while left:
            batch = left.pop()
            try:
                changed += self._ask(partial(self.store.write, name, batch))
                self._is_taking[name] = has_taken = True
            except WriteRejected as error:
                rows = sorted(error.rows) or ([0] if batch.height == 1 else [])
                if rows:
                    is_refused = pl.int_range(pl.len()).is_in(rows)
                    refused(batch.filter(is_refused), str(error))
                    left += [rest for rest in [batch.filter(~is_refused)] if rest.height]
                elif parts >= (_PARTS if has_taken else _FEW):
                    refused(batch, str(error))
                else:
                    # It does not say which: found out by halves.
                    parts += 2
                    left += [batch.slice(batch.height // 2), batch.head(batch.height // 2)]
        return changed

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        patience = _patience()
        while True:
            try:
                answer = question()
            except StoreUnavailable as error:
                self._wait(error, patience)
            else:
                self._has_answered = True
                return answer

    def _wait(self, error: StoreUnavailable, patience: Patience) -> None:
        if isinstance(error, StoreDenied) or not self._has_answered:
            raise error
        try:
            seconds = patience.pause(error)
        except StopIteration:
            raise error from None
        self._pause(seconds)


def _patience() -> Patience:
    return Patience(lambda: iter(PAUSES_S), denied=0.0)
