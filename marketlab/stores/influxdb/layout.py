"""Which points a table's rows are: measurement, tags, fields, and a time that tells rows of one microsecond apart.

Points of one series (measurement and tags) with one time are one point in InfluxDB, and the later one overwrites. So a
point's time has nanoseconds: the row's own microsecond, times 1000, plus a slot below 1000. The slot is the row's id modulo
1000 where the table has an id that is a number (trades, quotes, books; the last three digits for ids in text, which may
exceed 2^63), and 0 for klines, tickers and gaps, whose key is the series and the time already. The microsecond comes back
by dividing, so the nanoseconds are the same whenever the same row is written.

What the slot cannot tell apart carries its id in one more tag, `id`: a row whose id is no plain number, and rows of one
batch with one series, microsecond and slot. Ids that differ by a multiple of 1000 within one microsecond and come in
different batches do overwrite one another; no exchange whose ids count up by one has a thousand trades in a microsecond.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import polars as pl

from marketlab import tables
from marketlab.tables import LEVELS, TIME, TableSpec

__all__ = [
    "ID",
    "MEASUREMENTS",
    "OLDEST",
    "PRICE",
    "YOUNGEST",
    "beyond",
    "fields",
    "measurement",
    "points",
    "restored",
    "stored",
    "tags",
]

MEASUREMENTS: Mapping[str, str] = MappingProxyType(
    {
        "trades": "trade",
        "agg_trades": "agg_trade",
        "klines": "crypto_price",
        "quotes": "quote",
        "tickers": "ticker",
        "book_snapshots": "book_snapshot",
        "book_updates": "book_update",
        "gaps": "gap",
    }
)
"""What a table's measurement is called, but for the prefix."""

PRICE = "price"
"""A field of klines beside their columns: the close, under the name that charts of other tools look for."""

ID = "id"
"""The tag that tells apart what nanoseconds cannot; no column of a table is called so."""

OLDEST, YOUNGEST = -(2**63) // 1_000 + 1, 2**63 // 1_000
"""Microseconds since 1970 UTC that have all of their nanoseconds in 64 bits: from the first until before the second."""

_MORE_TAGS = {"klines": ("interval",), "gaps": ("channel",)}
_SLOTS = 1_000
_PLAIN = r"^(0|[1-9][0-9]*)$"


def measurement(name: str, prefix: str = "") -> str:
    """The measurement of a table."""
    return f"{prefix}{MEASUREMENTS[name]}"


def tags(name: str) -> tuple[str, ...]:
    """The columns that are tags, without `id`."""
    return ("exchange", "symbol", *_MORE_TAGS.get(name, ()))


def fields(name: str) -> dict[str, pl.DataType]:
    """The fields with the type they are stored as: text, Int64, Float64 or Boolean."""
    table = tables.spec(name)
    left_out = {*tags(name), table.time}
    found = {column: _kept_as(kind) for column, kind in table.schema.items() if column not in left_out}
    if name == "klines":
        found[PRICE] = pl.Float64()
    return found


def _kept_as(kind: pl.DataType) -> pl.DataType:
    if kind == LEVELS:
        return pl.String()
    return pl.Int64() if kind == TIME else kind


def stored(name: str, columns: Iterable[str]) -> list[str]:
    """The tags and fields that have to be read for these columns of a table.

    `received` is always among them: it is the one field that every point has, and where none of the fields that are
    asked for is stored InfluxDB leaves the point out.
    """
    wanted = {*columns, "received"} - {tables.spec(name).time}
    return [column for column in (*tags(name), *fields(name)) if column in wanted]


def beyond(name: str, table: pl.DataFrame) -> list[int]:
    """The rows whose time is too far away to be a point's: before 1677 or after 2262."""
    moment = pl.col(tables.spec(name).time).cast(pl.Int64)
    return table.select((~moment.is_between(OLDEST, YOUNGEST, closed="left")).arg_true()).to_series().to_list()


def points(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """Rows as points: the tags, `id` where it is needed, every field as it is stored, and `time` in nanoseconds.

    The rows stay where they are. An empty tag is null, since InfluxDB has no empty ones.
    """
    wanted = tables.spec(name)
    moment = pl.col(wanted.time).cast(pl.Int64) * _SLOTS
    kinds = fields(name)
    values = [_as_stored(wanted, column) for column in kinds if column in wanted.schema]
    if name == "klines":
        values.append(pl.col("close").alias(PRICE))
    keys = [pl.when(pl.col(tag) != "").then(pl.col(tag)).alias(tag) for tag in tags(name)]
    if not wanted.id:
        return table.select(*keys, *values, moment.alias("time"))
    found = table.select(*keys, *values, (moment + _slot(wanted)).alias("time"))
    return _told_apart(wanted, found)


def _slot(table: TableSpec) -> pl.Expr:
    column = pl.col(table.id)
    if table.schema[table.id] == pl.String():
        plain = pl.when(column.str.contains(_PLAIN)).then(column.str.tail(3))
        return plain.cast(pl.Int64).fill_null(0)
    return column % _SLOTS


def _told_apart(table: TableSpec, points: pl.DataFrame) -> pl.DataFrame:
    doubled = points.select(pl.struct(*tags(table.name), "time").is_duplicated()).to_series()
    text = table.schema[table.id] == pl.String()
    odd = ~points.get_column(table.id).str.contains(_PLAIN) if text else pl.repeat(False, points.height, eager=True)
    needed = doubled | odd
    if not needed.any():
        return points
    id = pl.col(table.id).cast(pl.String)
    return points.with_columns(pl.when(needed & (id != "")).then(id).alias(ID))


def _as_stored(table: TableSpec, column: str) -> pl.Expr:
    kind = table.schema[column]
    if kind == TIME:
        return pl.col(column).cast(pl.Int64)
    if kind != LEVELS:
        return pl.col(column)
    price, size = pl.element().struct.field("price"), pl.element().struct.field("size")
    level = pl.concat_str(pl.lit("["), price.cast(pl.String), pl.lit(","), size.cast(pl.String), pl.lit("]"))
    return pl.concat_str(pl.lit("["), pl.col(column).list.eval(level).list.join(","), pl.lit("]")).alias(column)


def restored(name: str, points: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """The inverse of `points`: the wanted columns of a table, of its types, from points as they were read.

    A field that no point has is null, or empty text where the table allows no null.
    """
    table = tables.spec(name)
    found = set(points.columns)
    return points.select(_restored(table, column, found) for column in columns)


def _restored(table: TableSpec, column: str, found: set[str]) -> pl.Expr:
    kind = table.schema[column]
    if column == table.time:
        return (pl.col("time").cast(pl.Int64) // _SLOTS).cast(TIME).alias(column)
    if column not in found:
        value = pl.lit("") if kind == pl.String() and column not in table.nullable else pl.lit(None)
        return value.cast(kind).alias(column)
    if kind == LEVELS:
        pairs = pl.col(column).str.json_decode(pl.List(pl.List(pl.Float64)))
        level = pl.struct(pl.element().list.get(0).alias("price"), pl.element().list.get(1).alias("size"))
        return pairs.list.eval(level).cast(LEVELS).alias(column)
    if kind == pl.String() and column not in table.nullable:
        # No tag, and in CSV no text either, looks like one that is empty.
        return pl.col(column).cast(kind).fill_null("")
    return pl.col(column).cast(kind)
