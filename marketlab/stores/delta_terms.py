"""Our words in Delta's: column types, conditions as SQL, and what its errors mean."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from deltalake.schema import ArrayType, DataType, Field, PrimitiveType, Schema, StructType

from marketlab import tables
from marketlab.errors import StoreDenied, StoreUnavailable
from marketlab.stores.selection import Selection

__all__ = [
    "PARTITION",
    "SETTINGS",
    "SLACK",
    "condition",
    "matching",
    "mistake",
    "ranged",
    "same_columns",
    "schema",
    "slack",
]

PARTITION = ("exchange", "symbol")
"""The columns by which a table lies in folders."""

SLACK = timedelta(milliseconds=1)
"""By how much times are widened: statistics hold milliseconds, and one fact may be told in ms and in us."""

SETTINGS = {
    "delta.checkpointInterval": "10",
    "delta.deletedFileRetentionDuration": "interval 1 days",
    "delta.logRetentionDuration": "interval 6 hours",
}
"""Of new tables; each commit costs as much as there are commits since the last checkpoint."""

_RANGE = {"quotes": "update_id", "book_updates": "last_id", "book_snapshots": "update_id"}
_LEVEL = StructType([Field("price", PrimitiveType("double")), Field("size", PrimitiveType("double"))])
_TYPES: dict[Any, DataType] = {
    pl.String(): PrimitiveType("string"),
    pl.Int64(): PrimitiveType("long"),
    pl.Float64(): PrimitiveType("double"),
    pl.Boolean(): PrimitiveType("boolean"),
    tables.TIME: PrimitiveType("timestamp"),
    tables.LEVELS: ArrayType(_LEVEL, contains_null=True),
}
_SIGNS = {
    # As Rust and as Python number it.
    28: (StoreUnavailable, "the disk is full: free some room"),
    122: (StoreUnavailable, "the disk quota is used up: free some room"),
    27: (StoreUnavailable, "the file size limit of this process is reached: raise it (ulimit -f)"),
    30: (StoreDenied, "the disk is read-only: remount it or choose another place"),
    13: (StoreDenied, "permission is missing: change the folder's rights or choose another place"),
    1: (StoreDenied, "permission is missing: change the folder's rights or choose another place"),
}


def schema(table: tables.TableSpec) -> Schema:
    """A table's columns as Delta wants them."""
    return Schema([Field(column, _TYPES[kind], nullable=True) for column, kind in table.schema.items()])


def same_columns(table: tables.TableSpec, found: Schema) -> bool:
    """Whether a table on the disk has the columns that its name promises."""
    have = {field.name: str(field.type) for field in found.fields}
    return have == {column: str(_TYPES[kind]) for column, kind in table.schema.items()}


def ranged(table: tables.TableSpec) -> str:
    """The column by whose range stored rows are looked for: the time only where it is the exchange's own."""
    return _RANGE.get(table.name, table.time)


def slack(table: tables.TableSpec) -> pl.Expr:
    """By how much that range is widened."""
    return pl.lit(SLACK if table.schema[ranged(table)] == tables.TIME else 0)


def condition(selection: Selection) -> str | None:
    """The rows of a selection; None for all."""
    parts = [
        f"{column} = {_text(value)}"
        for column, value in (("exchange", selection.exchange), ("symbol", selection.symbol))
        if value is not None
    ]
    for moment, sign in ((selection.start, ">="), (selection.end, "<")):
        if moment is not None:
            parts.append(f'"{selection.table.time}" {sign} {_literal(moment)}')
    return " AND ".join(parts) or None


def matching(table: tables.TableSpec, rows: pl.DataFrame) -> str:
    """Where `held` is the row that `batch` means, with literals that tell which files need not be opened."""
    by = ranged(table)
    low, high = (_literal(edge) for edge in _edges(rows.get_column(by)))
    parts = [
        *(f"held.{column} IN ({_texts(rows.get_column(column))})" for column in ("exchange", "symbol")),
        f'held."{by}" >= {low}',
        f'held."{by}" <= {high}',
        *(f'held."{column}" = batch."{column}"' for column in table.key),
    ]
    return " AND ".join(parts)


def mistake(place: Path | str, error: BaseException, doing: str = "write to") -> StoreUnavailable:
    """What went wrong, in one sentence that says what to do."""
    words = str(error)
    for number, (kind, advice) in _SIGNS.items():
        if f"os error {number})" in words or f"[Errno {number}]" in words:
            return kind(f"Cannot {doing} {place}: {advice}.")
    return StoreUnavailable(f"Cannot {doing} {place}: {words.splitlines()[0][:300] if words else repr(error)}")


def _edges(column: pl.Series) -> tuple[Any, Any]:
    low, high = column.min(), column.max()
    return (low - SLACK, high + SLACK) if isinstance(low, datetime) and isinstance(high, datetime) else (low, high)


def _literal(value: Any) -> str:
    if isinstance(value, datetime):
        return f"arrow_cast({_text(value.isoformat())}, 'Timestamp(Microsecond, Some(\"UTC\"))')"
    return str(value)


def _texts(column: pl.Series) -> str:
    return ", ".join(_text(value) for value in column.unique().sort())


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
