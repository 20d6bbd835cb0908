"""Copies one store into another; nothing but the target itself remembers how far a copy has got.

1. A *part* is what a table holds of one exchange, symbol and interval. One that the target has too, with as many rows
   from the same first to the same last time, is left out: so the same copy again is quick.
2. Parts go over in the order of time. Where the target holds the beginning of a part, an earlier copy was interrupted:
   it goes on from there, one piece back, since the last piece may not have arrived as a whole.
3. In any other case keys are compared, and only what the target lacks, or has a worse row of, goes over.
4. In the end both sides are counted. Where counts differ, keys tell whether anything lacks (the target may well have
   more); it is written once more, and what lacks even then is told. Gaps and open klines, which change after they were
   first stored, are always compared by key.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
import polars as pl

from marketlab import tables
from marketlab.errors import UsageError
from marketlab.instruments import canonical
from marketlab.lab.patience import Patient, moment
from marketlab.stores.contract import Coverage, Moment, Store
from marketlab.stores.selection import instant, micros, pieces
from marketlab.stores.upsert import RANKS, changes

__all__ = ["Copied", "Copying", "Refused"]

_LONGEST_KLINE = 32 * 24 * 60 * 60_000_000
_PIECE = 100_000
_BOOKS = 10  # a row with its levels takes that many times the memory
_EXAMPLES = 10

_Series: TypeAlias = tuple[str, str, str | None]


class Copied(msgspec.Struct, frozen=True):
    """A part that has been copied: how many rows the source has of it, and how many of these the target lacks."""

    table: str
    exchange: str
    symbol: str
    interval: str | None
    rows: int
    lacking: int


class Refused(msgspec.Struct, frozen=True):
    """A row that the target refused for what it is: its key, and the target's words."""

    table: str
    key: dict[str, Any]
    reason: str


class _Part(msgspec.Struct, frozen=True):
    """Rows of one series with first <= time <= last; `rows` is a guess where the part is not `whole`."""

    exchange: str
    symbol: str
    interval: str | None
    rows: int
    first: int
    last: int
    whole: bool = True
    open: bool = False

    @property
    def series(self) -> _Series:
        return self.exchange, self.symbol, self.interval

    @property
    def question(self) -> dict[str, Any]:
        series = {"exchange": self.exchange, "symbol": self.symbol}
        return series if self.interval is None else {**series, "interval": self.interval}


class Copying:
    """One copy of everything, or of what is chosen; `run` does it.

    Of about `total` rows `done` have been seen to so far. `written` counts by table the rows that were new to the target
    (or better, or written again where it does not look), and `simulated` how many went over that are marked so.
    `refused` counts those that the target did not take, `examples` are the first of them. `copied` are the parts that
    have been counted in the end.

    Raises:
        UsageError: no such table, a symbol that the source has never seen, or a store onto itself.
        StoreUnavailable: the source does not answer.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        *,
        names: Sequence[str] = (),
        symbols: Iterable[str] = (),
        start: Moment | None = None,
        end: Moment | None = None,
        pause: Callable[[float], None] = time.sleep,
        rows: int = _PIECE,
    ) -> None:
        if source is target or (source.url == target.url and source.scheme != "memory"):
            raise UsageError(f"{source.url} is FROM and TO; no store is copied onto itself.")
        self.total = self.done = self.simulated = 0
        self.written: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.examples: list[Refused] = []
        self.copied: list[Copied] = []
        self._source, self._target = Patient(source, pause), Patient(target, pause)
        self._names = [tables.spec(name).name for name in dict.fromkeys(names)] or list(tables.TABLES)
        self._symbols = [canonical(symbol) for symbol in dict.fromkeys(symbols)]
        self._start, self._end = micros(instant(start)), micros(instant(end))
        self._piece = rows
        self._not_taken: dict[str, pl.DataFrame] = {}
        for symbol in self._symbols:
            # A question for no time at all, which only a store that knows the symbol answers.
            source.read(self._names[0], symbol=symbol, start=moment(0), end=moment(0))

    def run(self) -> Iterator[str]:
        """Copies; gives the name of the table after each piece, so that whoever runs it may look, or stop there.

        Raises:
            StoreUnavailable: one of the two has not answered for most of a minute.
            StoreDenied: one of the two says no.
        """
        everything = {name: list(self._parts(name)) for name in self._names}
        self.total = sum(part.rows for parts in everything.values() for part in parts)
        for name, parts in everything.items():
            yield from self._copy(name, parts)

    def _copy(self, name: str, parts: list[_Part]) -> Iterator[str]:
        held = self._held(name)
        anew = {part: first for part in parts if (first := _first(name, part, held)) is not None}
        same = [part for part in parts if part not in anew and name != "gaps" and _agree(part, held)]
        compared = [part for part in parts if part not in anew and part not in same]
        before = self.done
        self.done += sum(part.rows for part in same)
        yield from self._hand_over(name, anew, held)
        if name == "klines":
            running = self._open_klines(parts, everything=len(same) < len(parts))
            self.total += sum(part.rows for part in running)
            compared += running
        for part in compared:
            yield from self._mend(name, part)
        if anew or compared:
            held = self._held(name)
        for part in [*same, *anew, *compared]:
            rows, lacking = (part.rows, 0) if _agree(part, held) else self._count(name, part)
            if lacking and part in anew:
                yield from self._mend(name, part)
                rows, lacking = self._count(name, part)
            if rows:
                self.copied.append(Copied(name, part.exchange, part.symbol, part.interval, rows, lacking))
        self.done = before + sum(part.rows for part in [*same, *anew, *compared])

    def _parts(self, name: str) -> Iterator[_Part]:
        for held in self._source.coverage(name, self._symbols):
            first = held.first if self._start is None else max(held.first, self._start)
            last = held.last if self._end is None else min(held.last, self._end - 1)
            if first <= last:
                whole = (first, last) == (held.first, held.last)
                rows = held.rows if whole else held.rows * (last - first) // (held.last - held.first)
                yield _Part(held.exchange, held.symbol, held.interval, rows, first, last, whole)

    def _open_klines(self, parts: list[_Part], *, everything: bool) -> list[_Part]:
        # Where all others are there already, so are the open ones of old; those that still run are at the end.
        newest = max((part.last for part in parts), default=None)
        first = self._start if everything or newest is None else max(newest - _LONGEST_KLINE, self._start or 0)
        last = None if self._end is None else self._end - 1
        columns = ["exchange", "symbol", "interval", "open_time", "closed"]
        found: list[pl.DataFrame] = []
        symbols: list[str | None] = [*self._symbols] if self._symbols else [None]
        for symbol in symbols:
            options = {"symbol": symbol, "columns": columns, "include_open": True, "rows": self._piece}
            batches = self._source.batches("klines", first, last, **options)
            found += [batch.filter(~pl.col("closed")) for batch in batches]
        if not found:
            return []
        times = pl.col("open_time").cast(pl.Int64)
        by_series = pl.concat(found).group_by("exchange", "symbol", "interval", maintain_order=True)
        ranges = by_series.agg(pl.len().alias("rows"), times.min().alias("first"), times.max().alias("last"))
        return [_Part(**row, whole=False, open=True) for row in ranges.to_dicts()]

    def _hand_over(self, name: str, anew: dict[_Part, int], held: dict[_Series, Coverage]) -> Iterator[str]:
        for part, first in anew.items():
            if first > part.first:
                anew[part] = self._rewound(name, part, first)
                self.done += max(held[part.series].rows - self._rows(name), 0)
        batches = (batch for part, first in anew.items() for batch in self._batches(name, part, first))
        for piece in pieces(batches, self._rows(name)):
            self._write(name, piece)
            self.done += piece.height
            yield name

    def _rewound(self, name: str, part: _Part, reached: int) -> int:
        # So far that a piece lies behind: guessed from how dense the rows are, then looked after in the source.
        back = (part.last - part.first) * self._rows(name) // part.rows + 1
        while reached - back > part.first:
            columns = [*tables.spec(name).key, tables.spec(name).time]
            found = self._source.batches(name, reached - back, reached, columns=columns, **part.question)
            if sum(batch.height for batch in found) >= self._rows(name):
                break
            back *= 2
        return max(part.first, reached - back)

    def _mend(self, name: str, part: _Part) -> Iterator[str]:
        for batch in self._batches(name, part, part.first):
            lacking = self._lacking(name, part, batch)
            known = self._not_taken.get(name)
            if known is not None:
                lacking = lacking.join(known, on=known.columns, how="anti")
            if lacking.height:
                self._write(name, lacking)
            self.done += batch.height
            yield name

    def _count(self, name: str, part: _Part) -> tuple[int, int]:
        rows = lacking = 0
        kept: list[pl.DataFrame] = []
        for batch in self._batches(name, part, part.first, columns=_compared(name)):
            found = self._lacking(name, part, batch)
            rows, lacking = rows + batch.height, lacking + found.height
            if found.height and lacking <= self._piece:
                kept.append(found)
        if 0 < lacking <= self._piece:
            # A store that keeps the first of two rows with one key may have them under another time.
            lacking = self._lacking(name, part, pl.concat(kept), anywhere=True).height
        return rows, lacking

    def _lacking(self, name: str, part: _Part, batch: pl.DataFrame, *, anywhere: bool = False) -> pl.DataFrame:
        times = batch.get_column(tables.spec(name).time).cast(pl.Int64)
        first, last = (None, None) if anywhere else (int(times[0]), int(times[-1]))
        options: dict[str, Any] = {"columns": _compared(name), "include_open": True, "rows": self._piece}
        for held in self._target.batches(name, first, last, **options, **part.question):
            found = changes(name, held, batch)
            batch = pl.concat([found.better, found.new])
        return batch

    def _batches(self, name: str, part: _Part, first: int, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        options: dict[str, Any] = {"columns": columns, "include_open": part.open, "rows": self._rows(name)}
        for batch in self._source.batches(name, first, part.last, **options, **part.question):
            found = batch.filter(~pl.col("closed")) if part.open else batch
            if found.height:
                yield found

    def _write(self, name: str, table: pl.DataFrame) -> None:
        key = tables.spec(name).key

        def refused(rows: pl.DataFrame, reason: str) -> None:
            keys = rows.select(key)
            self.refused[name] += keys.height
            known = self._not_taken.get(name)
            self._not_taken[name] = keys if known is None else pl.concat([known, keys])
            room = _EXAMPLES - len(self.examples)
            self.examples += [Refused(name, row, reason) for row in keys.head(room).to_dicts()]

        self.written[name] += self._target.write(name, table, refused)
        self.simulated += int(table.get_column("origin").eq("simulated").sum())

    def _held(self, name: str) -> dict[_Series, Coverage]:
        held = self._target.coverage(name, self._symbols)
        return {(part.exchange, part.symbol, part.interval): part for part in held}

    def _rows(self, name: str) -> int:
        return self._piece if "bids" not in tables.spec(name).schema else max(self._piece // _BOOKS, 1)


def _first(name: str, part: _Part, held: dict[_Series, Coverage]) -> int | None:
    """From when on a part goes over without a look at keys; None: keys are to be compared, or there is nothing to do."""
    has = held.get(part.series)
    if has is None or has.last < part.first or has.first > part.last:
        return part.first
    is_beginning = part.whole and has.first == part.first and has.last <= part.last and has.rows < part.rows
    return has.last if is_beginning and name != "gaps" else None


def _agree(part: _Part, held: dict[_Series, Coverage]) -> bool:
    has = held.get(part.series)
    return part.whole and has is not None and (has.rows, has.first, has.last) == (part.rows, part.first, part.last)


def _compared(name: str) -> list[str]:
    spec = tables.spec(name)
    return list(dict.fromkeys([*spec.key, spec.time, *RANKS.get(name, ())]))
