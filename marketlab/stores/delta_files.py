"""Files of a Delta table: written here, since a batch of few rows costs delta-rs' own writer twice as much.

One file for each exchange and symbol, sorted as the batch is. Statistics are those that rows are looked for by: times and
ids. A file counts once a commit names it; one that never was named is removed with those that nobody needs any more.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote
from uuid import uuid4

import msgspec
import polars as pl
from deltalake.transaction import AddAction, RemoveAction

from marketlab import tables
from marketlab.stores.delta_terms import PARTITION

__all__ = ["GROUP_ROWS", "Written", "removing", "written"]

GROUP_ROWS = 131_072
FILE_ROWS = 16 * GROUP_ROWS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Written(NamedTuple):
    """A new file: what a commit says of it, and its rows."""

    action: AddAction
    rows: pl.DataFrame


def written(root: Path, rows: pl.DataFrame, *, is_new: bool = True) -> list[Written]:
    """Write rows into new files below `root`; `is_new` says that they were in no file before.

    Raises:
        OSError, polars.exceptions.PolarsError: a file could not be written; those before it stay and count for nothing.
    """
    now = int(time.time() * 1000)
    whole = rows.partition_by(PARTITION, maintain_order=True)
    parts = [part for symbol in whole for part in symbol.iter_slices(FILE_ROWS)]
    # All at once where it can be: a query for each file would cost more than the files.
    told = _statistics(rows) if len(parts) == len(whole) else chain.from_iterable(map(_statistics, parts))
    places = [_place(part.item(0, "exchange"), part.item(0, "symbol")) for part in parts]
    pl.collect_all([_sink(part, root / place) for part, place in zip(parts, places, strict=True)])
    return [
        Written(
            AddAction(
                path=place,
                size=(root / place).stat().st_size,
                partition_values={column: part.item(0, column) for column in PARTITION},
                modification_time=now,
                data_change=is_new,
                stats=stats,
            ),
            part,
        )
        for part, place, stats in zip(parts, places, told, strict=True)
    ]


def removing(files: pl.DataFrame) -> list[RemoveAction]:
    """What a commit has to say of files of a listing whose rows are in other files now."""
    now = int(time.time() * 1000)
    return [
        RemoveAction(unquote(path), False, now, size, dict(zip(PARTITION, values, strict=True)))
        for path, size, *values in files.select("path", "bytes", *PARTITION).iter_rows()
    ]


def _place(exchange: str, symbol: str) -> str:
    # As delta-rs names folders. A value is escaped, so it cannot lead out of the table.
    return f"exchange={quote(exchange, safe='')}/symbol={quote(symbol, safe='')}/part-{uuid4()}.zstd.parquet"


def _sink(part: pl.DataFrame, path: Path) -> pl.LazyFrame:
    return (
        part.drop(PARTITION)
        .lazy()
        .sink_parquet(path, compression="zstd", compression_level=1, row_group_size=GROUP_ROWS, mkdir=True, lazy=True)
    )


def _statistics(rows: pl.DataFrame) -> Iterator[str]:
    columns = [column for column, kind in rows.schema.items() if kind in (tables.TIME, pl.Int64())]
    numbers = pl.col(columns).cast(pl.Int64)
    edges = [
        numbers.min().name.prefix("low "),
        numbers.max().name.prefix("high "),
        numbers.null_count().name.prefix("no "),
    ]
    found = rows.group_by(PARTITION, maintain_order=True).agg(pl.len(), *edges).drop(PARTITION)
    for height, *values in found.iter_rows():
        low, high, nulls = (dict(zip(columns, values[at:], strict=False)) for at in range(0, len(values), len(columns)))
        for column in columns:
            if rows.schema[column] == tables.TIME:
                # Statistics hold milliseconds, and the highest must not lie below what is in the file.
                low[column], high[column] = _moment(low[column], 0), _moment(high[column], 999)
        told = {"numRecords": height, "minValues": _known(low), "maxValues": _known(high), "nullCount": nulls}
        yield msgspec.json.encode(told).decode()


def _moment(micros: int | None, up: int) -> str | None:
    if micros is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=(micros + up) // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {column: value for column, value in values.items() if value is not None}
