"""Leaves out rows that came before, from rows that stream by in the order of time.

A store that keys points by time may hold one key at two times: a quote that was received twice, a trade that was told in
milliseconds and in microseconds. The first one stays. What has come is remembered by id, 8 bytes a row where the ids are
numbers; and since ids nearly always grow, it is looked through for the few that do not.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self

import polars as pl

from marketlab import tables
from marketlab.tables import TableSpec

__all__ = ["Seen", "whole_moments"]

_SLOTS = 1_000
_PLAIN = r"^(0|[1-9][0-9]{0,17})$"


def whole_moments(pieces: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same points in the same order, cut so that no microsecond is in two pieces."""
    kept: pl.DataFrame | None = None
    for piece in pieces:
        if piece.is_empty():
            continue
        whole = piece if kept is None else pl.concat([kept, piece], how="diagonal_relaxed")
        times = whole.get_column("time")
        last = int(times[-1]) // _SLOTS * _SLOTS
        cut = times.search_sorted(last)
        if cut:
            yield whole.slice(0, cut)
        kept = whole.slice(cut)
    if kept is not None:
        yield kept


class Seen:
    """Remembers the keys of a table that went by."""

    def __init__(self, table: TableSpec) -> None:
        self._table = table
        self._parts: dict[tuple[object, ...], list[_Part]] = {}

    def new(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of the rows whose key did not come before, one for each key."""
        rows = tables.unique(self._table.name, rows)
        id = self._table.id
        # Without an id, the time is in the key and nothing can come at two times.
        if not id:
            return rows
        for series, part in rows.partition_by("exchange", "symbol", as_dict=True).items():
            came = self._came(series, part.get_column(id))
            if came.len():
                exchange, symbol = series
                again = (
                    (pl.col("exchange") == exchange) & (pl.col("symbol") == symbol) & pl.col(id).is_in(came.implode())
                )
                rows = rows.filter(~again)
        return rows

    def _came(self, series: tuple[object, ...], ids: pl.Series) -> pl.Series:
        """Those of the ids of a series that came before; the others are remembered."""
        parts = self._parts.setdefault(series, [])
        numbers = _numbers(ids)
        latest = _Part.of(ids if numbers is None else numbers)
        came = latest.ids.clear()
        for part in parts:
            came = came.append(latest.among(part))
        if came.len():
            latest = _Part.of(latest.ids.filter(~latest.ids.is_in(came.implode())))
        if latest.ids.len():
            parts.append(latest)
        return came.cast(ids.dtype)


class _Part(NamedTuple):
    """Ids of a series that came together, as numbers where all of them are."""

    ids: pl.Series
    lowest: Any
    highest: Any

    @classmethod
    def of(cls, ids: pl.Series) -> Self:
        return cls(ids, ids.min(), ids.max())

    def among(self, earlier: "_Part") -> pl.Series:
        """Those that are among earlier ones."""
        known = earlier.ids
        if known.dtype != self.ids.dtype:
            return self.ids.filter(self.ids.cast(pl.String).is_in(known.cast(pl.String).implode()))
        if self.lowest > earlier.highest or self.highest < earlier.lowest:
            return self.ids.clear()
        late = self.ids.filter(self.ids.is_between(earlier.lowest, earlier.highest))
        return late.filter(late.is_in(known.implode()))


def _numbers(ids: pl.Series) -> pl.Series | None:
    if ids.dtype == pl.Int64():
        return ids
    # Only what comes back as the same text.
    return ids.cast(pl.Int64) if ids.str.contains(_PLAIN).all() else None
