"""Tables as aligned text that fits a screen: what all rows share stands above, what is too wide below."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl

__all__ = ["aligned"]

_SHARED = ("exchange", "symbol", "interval")
_BETWEEN = "  "


class _Column(msgspec.Struct, frozen=True):
    name: str
    cells: list[str]
    is_number: bool

    @property
    def width(self) -> int:
        return max(map(len, [self.name, *self.cells]))

    def lines(self, rule: str) -> Iterator[str]:
        width = self.width
        name, *cells = (text.rjust(width) if self.is_number else text.ljust(width) for text in [self.name, *self.cells])
        yield from (name, rule * width, *cells)


def aligned(table: pl.DataFrame, width: int, rule: str = "─") -> Iterator[str]:
    """The lines of a table; no cell is ever broken, no number rounded.

    Exchange, symbol, interval and day stand in a line above where all rows share them; there it is said, too, whether
    rows are simulated. Columns that do not fit stand
    in further blocks below, each beginning with the time again (or the first column, where there is no time). Times
    are as precise as they have to be.

    Args:
        table: any columns; of lists, which are the sides of books, the best level is shown and how many follow.
        width: what a line may be long; one that holds a single too wide cell runs over.
        rule: what headers are underlined with.
    """
    shared = [name for name in _SHARED if name in table.columns and table.get_column(name).n_unique() == 1]
    if len(shared) == table.width:
        shared = []
    times = [name for name, kind in table.schema.items() if isinstance(kind, pl.Datetime)]
    day = _only_day(table.select(times))
    words = [" ".join(table.get_column(name)[0] for name in shared)]
    if times and table.height:
        words += [f"{day:%Y-%m-%d}" if day else "", "times in UTC"]
    words.append(_mark(table))
    if heading := ", ".join(filter(None, words)):
        yield heading
    columns = [_column(series, day) for series in table.drop(shared)]
    for number, block in enumerate(_blocks(columns, times[0] if times else columns[0].name, width)):
        if number:
            yield ""
        for parts in zip(*(column.lines(rule) for column in block), strict=True):
            yield _BETWEEN.join(parts).rstrip()


def _mark(table: pl.DataFrame) -> str:
    # The column origin may stand in a lower block; what is simulated is marked before anything else.
    simulated = int(table.get_column("origin").eq("simulated").sum()) if "origin" in table.columns else 0
    return "" if not simulated else "simulated" if simulated == table.height else "partly simulated"


def _blocks(columns: Sequence[_Column], first: str, width: int) -> Iterator[list[_Column]]:
    lead = next(column for column in columns if column.name == first)
    block: list[_Column] = []
    used = 0
    for column in columns:
        needed = column.width + len(_BETWEEN)
        if block and block != [lead] and used + needed - len(_BETWEEN) > width:
            yield block
            if column is lead:
                block, used = [], 0
            else:
                block, used = [lead], lead.width + len(_BETWEEN)
        block.append(column)
        used += needed
    yield block


def _only_day(times: pl.DataFrame) -> date | None:
    days = {moment.date() for column in times for moment in column.drop_nulls()}
    return days.pop() if len(days) == 1 else None


def _column(series: pl.Series, day: date | None) -> _Column:
    kind, values = series.dtype, series.to_list()
    if isinstance(kind, pl.Datetime):
        return _Column(series.name, _times(values, day), is_number=False)
    if kind.is_float():
        return _Column(series.name, _floats(values), is_number=True)
    if kind.is_nested():
        return _Column(series.name, [_best(levels) for levels in values], is_number=False)
    if kind == pl.Boolean:
        return _Column(series.name, ["" if value is None else str(value).lower() for value in values], is_number=False)
    return _Column(series.name, ["" if value is None else str(value) for value in values], kind.is_integer())


def _times(moments: Sequence[datetime | None], day: date | None) -> list[str]:
    given = [moment for moment in moments if moment is not None]
    if any(moment.microsecond % 1_000 for moment in given):
        precision = "microseconds"
    elif any(moment.microsecond for moment in given):
        precision = "milliseconds"
    else:
        precision = "seconds" if any(moment.second for moment in given) else "minutes"
    texts = ["" if moment is None else moment.replace(tzinfo=None).isoformat(" ", precision) for moment in moments]
    return [text.partition(" ")[2] for text in texts] if day else texts


def _floats(numbers: Sequence[float | None]) -> list[str]:
    texts = ["" if number is None else _plain(number) for number in numbers]
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [_filled(text, decimals) for text in texts]


def _plain(number: float) -> str:
    # As short as it can be without being another number, and never with an exponent.
    return f"{Decimal(repr(number)):f}".removesuffix(".0")


def _filled(text: str, decimals: int) -> str:
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(decimals, '0')}" if decimals and whole.lstrip("-").isdigit() else text


def _best(levels: Sequence[dict[str, Any]] | None) -> str:
    if not levels:
        return ""
    best = " x ".join(map(_plain, levels[0].values()))
    return f"{best} +{len(levels) - 1}" if len(levels) > 1 else best
