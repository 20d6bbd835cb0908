"""What of a filter in polars a server can do itself: exchange, symbol and the bounds of the time.

Only what is surely understood is taken over. Polars filters once more, so what is left out costs time and nothing else.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl

from marketlab.stores.selection import Selection

__all__ = ["bounded", "instruments", "narrowed"]

_LEAST = timedelta(microseconds=1)


def instruments(filtered: pl.Expr | None, known: pl.DataFrame) -> pl.DataFrame:
    """Of the known markets (exchange, symbol) those that a filter leaves."""
    for part in _parts(filtered):
        if set(part.meta.root_names()) <= {"exchange", "symbol"}:
            known = known.filter(part)
    return known


def narrowed(filtered: pl.Expr | None, whole: Selection) -> Selection:
    """The same as `bounded`, of the one exchange and symbol too where a filter names them."""
    selection = bounded(filtered, whole)
    for part in _parts(filtered):
        for column in ("exchange", "symbol"):
            value = _equal(part, pl.col(column))
            if value is not None:
                selection = msgspec.structs.replace(selection, **{column: value})
    return selection


def bounded(filtered: pl.Expr | None, whole: Selection) -> Selection:
    """A table's rows within the bounds of time that a filter names, or a little beyond."""
    start, end = whole.start, whole.end
    for part in _parts(filtered):
        low, high = _bounds(part, pl.col(whole.table.time))
        start = low if start is None or (low is not None and low > start) else start
        end = high if end is None or (high is not None and high < end) else end
    return whole.within(start, end)


def _parts(filtered: pl.Expr | None) -> Iterator[pl.Expr]:
    """What must all hold."""
    if filtered is None:
        return
    inner = filtered.meta.pop()
    if len(inner) == 2:
        for left, right in (inner, inner[::-1]):
            if filtered.meta.eq(left & right):
                yield from _parts(left)
                yield from _parts(right)
                return
    yield filtered


def _equal(part: pl.Expr, column: pl.Expr) -> str | None:
    """The text that a column has to be."""
    for edge in part.meta.pop():
        if edge.meta.is_literal() and (part.meta.eq(column == edge) or part.meta.eq(edge == column)):
            found = pl.select(edge).item()
            return found if isinstance(found, str) else None
    return None


def _bounds(part: pl.Expr, time: pl.Expr) -> tuple[datetime | None, datetime | None]:
    """From when, and before when, the time has to be."""
    found = [(edge, moment) for edge in part.meta.pop() if (moment := _moment(edge)) is not None]
    if len(found) == 2:
        (high, last), (low, first) = found
        return (first, last + _LEAST) if part.meta.eq(time.is_between(low, high)) else (None, None)
    for edge, moment in found:
        if any(part.meta.eq(said) for said in (time >= edge, time > edge, edge <= time, edge < time)):
            return moment, None
        if any(part.meta.eq(said) for said in (time <= edge, time < edge, edge >= time, edge > time)):
            return None, moment + _LEAST
    return None, None


def _moment(part: pl.Expr) -> datetime | None:
    if not part.meta.is_literal():
        return None
    found = pl.select(part).item()
    return found.astimezone(UTC) if isinstance(found, datetime) and found.tzinfo is not None else None
