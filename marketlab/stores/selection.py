"""What a read asks for: parsed and checked once, the same for every store.

A selection is turned into an expression that a store pushes down as far as it can; `finish` then brings what came
back into the promised form: unique by key, in order, closed klines only unless asked otherwise, the wanted columns.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import and_
from typing import Any, Self

import msgspec
import polars as pl

from marketlab import tables
from marketlab.errors import UnknownExchange, UnknownSymbol, UsageError
from marketlab.instruments import canonical
from marketlab.stores.contract import Coverage, Moment

__all__ = ["Selection", "cover", "instant", "micros", "pieces"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Below it is a number of milliseconds or seconds, from it on one of nanoseconds. 0 is the same in all of them.
_LEAST, _MOST = 10**14, 10**17
_INTERVAL = re.compile(r"[1-9][0-9]{0,5}[smhdwM]")


def instant(moment: Moment | None) -> datetime | None:
    """A moment as a time in UTC; text and times without a zone are UTC, integers are microseconds.

    Raises:
        UsageError: the text is not an ISO 8601 date or time, the number is none of microseconds since 1970, or it is
            something else altogether.
    """
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = _parsed(moment)
    if isinstance(moment, datetime):
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if isinstance(moment, date):
        return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    # By its exact type, since True is an int too.
    if type(moment) is not int or (moment and not _LEAST <= moment < _MOST):
        raise UsageError(
            f"{moment!r} is not a time: a number has to be an integer of microseconds since 1970 UTC, "
            "like 1723161600000000, and a text like 2024-08-09T12:30:00Z."
        )
    return _EPOCH + timedelta(microseconds=moment)


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text!r} is not a time; write it like 2024-08-09 or 2024-08-09T12:30:00Z.") from None


def micros(moment: datetime | None) -> int | None:
    """A time in microseconds since 1970 UTC."""
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


def _require_interval(table: tables.TableSpec, interval: str) -> None:
    if "interval" not in table.schema:
        raise UsageError(f"{table.name} has no intervals; leave interval out.")
    if not _INTERVAL.fullmatch(interval):
        raise UsageError(
            f"{interval!r} is not an interval; write a number and s, m, h, d, w or M (month), like 1s, 1m, 4h, 1d or 1M."
        )


def _columns(table: tables.TableSpec, columns: Any) -> tuple[str, ...]:
    if not isinstance(columns, list | tuple):
        raise UsageError(f"columns is a list of names, not {columns!r}; write it like columns=['{table.time}'].")
    if not columns:
        raise UsageError("columns names no column; leave it out for all of them.")
    unknown = [str(column) for column in columns if not isinstance(column, str) or column not in table.schema]
    if unknown:
        raise UsageError(f"{table.name} has no column {', '.join(unknown)}. Columns: {', '.join(table.schema)}.")
    return tuple(dict.fromkeys(columns))


class Selection(msgspec.Struct, frozen=True):
    """A checked question to a table. `symbol` is canonical; the times are UTC, start inclusive and end exclusive."""

    table: tables.TableSpec
    exchange: str | None = None
    symbol: str | None = None
    interval: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    columns: tuple[str, ...] = ()
    include_open: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        exchange: str | None = None,
        symbol: str | None = None,
        interval: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        columns: list[str] | None = None,
        include_open: bool = False,
    ) -> Self:
        """What people pass to `read`, checked.

        Raises:
            UsageError: no such table or column, not a symbol, not an interval or one for a table without, not a time,
                a start after the end, or a list where one name is wanted and the other way round.
        """
        for what, text in (("table", name), ("exchange", exchange), ("symbol", symbol), ("interval", interval)):
            if text is not None and not isinstance(text, str):
                raise UsageError(f"{what} is one name as text, not {text!r}; ask once for each.")
        table = tables.spec(name)
        if interval is not None:
            _require_interval(table, interval)
        first, last = instant(start), instant(end)
        if first is not None and last is not None and first > last:
            raise UsageError(f"start {first.isoformat()} is after end {last.isoformat()}.")
        return cls(
            table,
            exchange,
            canonical(symbol) if symbol is not None else None,
            interval,
            first,
            last,
            () if columns is None else _columns(table, columns),
            include_open,
        )

    @property
    def needed(self) -> list[str]:
        """The columns that `finish` has to see."""
        if not self.columns:
            return list(self.table.schema)
        extra = {"klines": ("closed", "trade_count"), "gaps": ("healed_at",), "tickers": ("trade_count",)}.get(
            self.table.name, ()
        )
        wanted = {*self.columns, *self.table.key, self.table.time, *extra}
        return [column for column in self.table.schema if column in wanted]

    @property
    def expression(self) -> pl.Expr | None:
        """The rows that may belong to the answer, as a filter; None selects all."""
        parts = [
            pl.col(column) == value
            for column, value in (("exchange", self.exchange), ("symbol", self.symbol), ("interval", self.interval))
            if value is not None
        ]
        if self.start is not None:
            parts.append(pl.col(self.table.time) >= pl.lit(self.start, tables.TIME))
        if self.end is not None:
            parts.append(pl.col(self.table.time) < pl.lit(self.end, tables.TIME))
        return reduce(and_, parts) if parts else None

    def of_table(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows and columns of a whole table that `finish` has to see."""
        rows = table if self.expression is None else table.filter(self.expression)
        return rows.select(self.needed)

    def within(self, start: datetime | None, end: datetime | None) -> Self:
        """The same question for a part of the time."""
        return msgspec.structs.replace(self, start=start, end=end)

    def finish(self, table: pl.DataFrame, *, is_unique: bool = False) -> pl.DataFrame:
        """The promised form of the rows that a store found; `is_unique` says that no key is there twice."""
        name = self.table.name
        rows = table if is_unique else tables.unique(name, table)
        if "closed" in rows.columns and name == "klines" and not self.include_open:
            rows = rows.filter(pl.col("closed"))
        rows = tables.in_order(name, rows)
        return rows.select(self.columns) if self.columns else rows

    def require_known(self, known: Iterable[tuple[str, str]], store: str) -> None:
        """That a store which holds anything at all has seen the exchange and symbol asked for.

        Raises:
            UnknownExchange: it has not seen the exchange.
            UnknownSymbol: it has not seen the symbol; the error names the nearest ones.
        """
        pairs = set(known)
        if not pairs:
            return
        if self.exchange is not None:
            exchanges = {exchange for exchange, _ in pairs}
            if self.exchange not in exchanges:
                raise UnknownExchange(self.exchange, exchanges)
            pairs = {pair for pair in pairs if pair[0] == self.exchange}
        symbols = sorted({symbol for _, symbol in pairs})
        if self.symbol is not None and self.symbol not in symbols:
            raise UnknownSymbol(self.symbol, self.exchange or store, symbols)


def cover(name: str, rows: pl.LazyFrame) -> list[Coverage]:
    """Coverage of rows that are unique by key, open klines left out."""
    table = tables.spec(name)
    by = ["exchange", "symbol", *(["interval"] if "interval" in table.schema else [])]
    if name == "klines":
        rows = rows.filter(pl.col("closed"))
    times = pl.col(table.time).cast(pl.Int64)
    found = rows.group_by(by).agg(pl.len().alias("rows"), times.min().alias("first"), times.max().alias("last"))
    return [
        Coverage(row["exchange"], row["symbol"], row.get("interval"), row["rows"], row["first"], row["last"])
        for row in found.collect().sort(by).to_dicts()
    ]


def pieces(tables_in_order: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in tables of `rows` rows; the last may be shorter."""
    kept: list[pl.DataFrame] = []
    height = 0
    for table in tables_in_order:
        kept.append(table)
        height += table.height
        if height < rows:
            continue
        whole = pl.concat(kept)
        cut = height - height % rows
        yield from whole.slice(0, cut).iter_slices(rows)
        kept, height = [whole.slice(cut)], height - cut
    if height:
        yield pl.concat(kept)
