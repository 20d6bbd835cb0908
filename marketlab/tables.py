"""Tables of records: one polars schema each, and the only place that knows columns.

Times are `Datetime("us", "UTC")`, book levels are lists of (price, size) structs. Two rows with one key are the
same fact; which of them stays is decided here, by one rule for every store:

- klines: closed beats open, then the higher trade count, otherwise the first stays;
- gaps: the healed one beats the open one, otherwise the first stays;
- tickers: a full one beats a mini one, otherwise the first stays;
- everything else: the first stays.

So the same data written twice leaves a store as it was.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

import msgspec
import polars as pl
from arro3.core import ChunkedArray, DataType, Field, list_array

from marketlab import records
from marketlab.errors import UsageError
from marketlab.records import Record

__all__ = [
    "LEVELS",
    "TABLES",
    "TIME",
    "TableSpec",
    "check",
    "empty",
    "in_order",
    "spec",
    "table_of",
    "to_records",
    "to_table",
    "to_tables",
    "unique",
]

TIME = pl.Datetime("us", "UTC")
LEVELS = pl.List(pl.Struct({"price": pl.Float64, "size": pl.Float64}))

_TIMES = frozenset({"time", "open_time", "close_time", "received", "start", "end", "healed_at"})
_TYPES: dict[Any, pl.DataType] = {
    str: pl.String(),
    int: pl.Int64(),
    float: pl.Float64(),
    bool: pl.Boolean(),
    records.Origin: pl.String(),
    records.Side: pl.String(),
    records.Levels: LEVELS,
    str | None: pl.String(),
    int | None: pl.Int64(),
    float | None: pl.Float64(),
}


class TableSpec(msgspec.Struct, frozen=True):
    """A table's name, record type, columns, key, time column and id column (sorted after time; "" for none)."""

    name: str
    record: type[Any]
    key: tuple[str, ...]
    time: str
    id: str
    schema: Mapping[str, pl.DataType]

    @property
    def nullable(self) -> frozenset[str]:
        """Columns that may be null."""
        return frozenset(
            field.name for field in msgspec.structs.fields(self.record) if type(None) in _members(field.type)
        )


def _members(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", ())


def _column_type(field: msgspec.structs.FieldInfo) -> pl.DataType:
    return TIME if field.name in _TIMES else _TYPES[field.type]


def _table(name: str, record: type[Any], key: str, time: str = "time", id: str = "") -> TableSpec:
    schema = {field.name: _column_type(field) for field in msgspec.structs.fields(record)}
    return TableSpec(name, record, ("exchange", "symbol", *key.split()), time, id, schema)


TABLES: dict[str, TableSpec] = {
    table.name: table
    for table in (
        _table("trades", records.Trade, "trade_id", id="trade_id"),
        _table("agg_trades", records.AggTrade, "agg_id", id="agg_id"),
        _table("klines", records.Kline, "interval open_time", time="open_time"),
        _table("quotes", records.Quote, "update_id", id="update_id"),
        _table("tickers", records.Ticker, "time"),
        _table("book_snapshots", records.BookSnapshot, "update_id", id="update_id"),
        _table("book_updates", records.BookUpdate, "last_id", id="last_id"),
        _table("gaps", records.Gap, "channel start", time="start"),
    )
}
"""Every table by name."""

_NAMES: dict[type[Any], str] = {table.record: table.name for table in TABLES.values()}


def spec(name: str) -> TableSpec:
    """The table of that name.

    Raises:
        UsageError: there is no such table.
    """
    found = TABLES.get(name)
    if found is None:
        raise UsageError(f"Unknown table {name!r}. Tables: {', '.join(TABLES)}.")
    return found


def table_of(record: Record | type[Any]) -> str:
    """The name of the table that holds records of this type."""
    return _NAMES[record if isinstance(record, type) else type(record)]


def empty(name: str) -> pl.DataFrame:
    """The table without rows."""
    return pl.DataFrame(schema=dict(spec(name).schema))


def to_table(name: str, records: Sequence[Record]) -> pl.DataFrame:
    """Records of one type as a table, row by row in the given order."""
    table = spec(name)
    if not records:
        return empty(name)
    # One flat list and a stride for each column: half the cost of asking each record for each attribute.
    flat = list(chain.from_iterable(map(msgspec.structs.astuple, records)))
    width = len(table.schema)
    return pl.DataFrame(
        [_series(column, kind, flat[place::width]) for place, (column, kind) in enumerate(table.schema.items())]
    )


def _series(name: str, kind: pl.DataType, values: list[Any]) -> pl.Series:
    if kind == LEVELS:
        return _levels(name, values)
    if kind == pl.String() and values[0] == values[-1] and values.count(values[0]) == len(values):
        return pl.Series(name, values[:1], kind).new_from_index(0, len(values))
    return pl.Series(name, values, kind)


def _levels(name: str, sides: list[Any]) -> pl.Series:
    # Through one flat column and the places where it is cut: ten times quicker than nested Python values.
    numbers = pl.Series(list(chain.from_iterable(chain.from_iterable(sides))), dtype=pl.Float64)
    levels = pl.DataFrame({"price": numbers.gather_every(2), "size": numbers.gather_every(2, 1)}).to_struct()
    cuts = pl.Series([0, *accumulate(map(len, sides))], dtype=pl.Int64)
    values, offsets = (ChunkedArray.from_arrow(column).combine_chunks() for column in (levels, cuts))
    return pl.Series(list_array(offsets, values, type=DataType.large_list(Field("item", values.type)))).alias(name)


def to_tables(records: Iterable[Record]) -> dict[str, pl.DataFrame]:
    """Records of any types as one table per type."""
    groups: dict[type[Any], list[Record]] = {}
    for record in records:
        kind = type(record)
        group = groups.get(kind)
        if group is None:
            groups[kind] = group = []
        group.append(record)
    return {_NAMES[kind]: to_table(_NAMES[kind], group) for kind, group in groups.items()}


def to_records(name: str, table: pl.DataFrame) -> list[Any]:
    """A table's rows as records, in order; the inverse of `to_table`."""
    wanted = spec(name)
    check(name, table)
    columns = [_values(table.get_column(column), kind) for column, kind in wanted.schema.items()]
    make: Callable[..., Any] = wanted.record
    return [make(*row) for row in zip(*columns, strict=True)]


def _values(column: pl.Series, kind: pl.DataType) -> list[Any]:
    if kind == LEVELS:
        return _sides(column)
    return (column.cast(pl.Int64) if kind == TIME else column).to_list()


def _sides(column: pl.Series) -> list[Any]:
    lengths = column.list.len()
    levels = column.filter(lengths > 0).explode().struct.unnest()
    pairs = list(zip(levels["price"].to_list(), levels["size"].to_list(), strict=True))
    ends = list(accumulate(lengths.to_list()))
    return [pairs[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def check(name: str, table: pl.DataFrame) -> None:
    """That a table has exactly the columns, types and no nulls that its name promises.

    Raises:
        UsageError: it has not; the message names every column that does not fit.
    """
    wanted = spec(name)
    faults = [f"no column {column}" for column in wanted.schema if column not in table.schema]
    faults += [f"unknown column {column}" for column in table.schema if column not in wanted.schema]
    for column, kind in wanted.schema.items():
        have = table.schema.get(column)
        if have is not None and have != kind:
            faults.append(f"{column} is {have} instead of {kind}")
        elif have is not None and column not in wanted.nullable and table.get_column(column).null_count():
            faults.append(f"{column} holds nulls")
    if faults:
        raise UsageError(f"This table does not fit {name}: {'; '.join(faults)}.")


def in_order(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """Sorted by time, then id; ids that are numbers in text sort as numbers."""
    wanted = spec(name)
    by: list[pl.Expr] = [pl.col(wanted.time)]
    if wanted.id:
        if wanted.schema[wanted.id] == pl.String():
            by.append(pl.col(wanted.id).str.len_bytes())
        by.append(pl.col(wanted.id))
    by += [pl.col(column) for column in wanted.key if column not in (wanted.time, wanted.id)]
    return table if _is_ordered(table, by) else table.sort(by, maintain_order=True)


def _is_ordered(table: pl.DataFrame, by: Sequence[pl.Expr]) -> bool:
    # Asked column by column as long as there are ties: nearly always it is, and a sort of many rows is dear.
    if not table.get_column(by[0].meta.output_name()).is_sorted():
        return False
    ordered = pl.lit(True)
    for column in reversed(by):
        before = column.shift()
        ordered = (column > before) | ((column == before) & ordered)
    return bool(table.select(ordered.all()).item())


def unique(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """One row for each key, the better one by the rule above, where the first stood."""
    key = list(spec(name).key)
    better = _BETTER.get(name)
    if better is None:
        return table.unique(subset=key, keep="first", maintain_order=True)
    if not table.select(key).is_duplicated().any():
        return table
    placed = table.with_row_index(_PLACE)
    ranked = placed.sort(pl.col(_PLACE).min().over(key), *better, maintain_order=True)
    return ranked.unique(subset=key, keep="first", maintain_order=True).drop(_PLACE)


_PLACE = "\0place"
_BETTER: dict[str, tuple[pl.Expr, ...]] = {
    "klines": (~pl.col("closed"), -pl.col("trade_count")),
    "gaps": (pl.col("healed_at").is_null(),),
    "tickers": (pl.col("trade_count").is_null(),),
}
