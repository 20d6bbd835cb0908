"""Tables of records: one polars schema each, and the only place that knows columns.

Times are `Datetime("us", "UTC")`, book levels are lists of (price, size) structs. Two rows with one key are the
same fact; which of them stays is decided here, by one rule for every store:

- klines: closed beats open, then the higher trade count, otherwise the first stays;
- gaps: the healed one beats the open one, otherwise the first stays;
- everything else: the first stays.

So the same data written twice leaves a store as it was.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import polars as pl

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
    columns: dict[str, pl.Series] = {}
    for column, kind in table.schema.items():
        values = list(map(attrgetter(column), records))
        columns[column] = _levels(column, values) if kind == LEVELS else pl.Series(column, values, kind)
    return pl.DataFrame(columns)


def _levels(name: str, sides: list[Any]) -> pl.Series:
    as_dicts = [[{"price": price, "size": size} for price, size in side] for side in sides]
    return pl.Series(name, as_dicts, LEVELS)


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
        return [[(level["price"], level["size"]) for level in side] for side in column.to_list()]
    return (column.cast(pl.Int64) if kind == TIME else column).to_list()


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
    rest = [column for column in wanted.key if column not in (wanted.time, wanted.id)]
    return table.sort([*by, *map(pl.col, rest)], maintain_order=True)


def unique(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """One row for each key, the better one by the rule above, where the first stood."""
    wanted = spec(name)
    if name == "klines":
        table = table.sort([~pl.col("closed"), -pl.col("trade_count")], maintain_order=True)
    elif name == "gaps":
        table = table.sort(pl.col("healed_at").is_null(), maintain_order=True)
    return table.unique(subset=list(wanted.key), keep="first", maintain_order=True)
