"""What comes in and goes out: a table of any engine that the functions here are proven on."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import narwhals as nw

from marketlab.errors import Unsupported, UsageError

__all__ = ["ENGINES", "Table", "enter", "in_time_order", "keys"]

Table: TypeAlias = nw.DataFrame[Any] | nw.LazyFrame[Any]

ENGINES = ("polars", "pandas", "duckdb")
"""Engines that every function here is tested on, polars eager and lazy. Others raise Unsupported."""

_KEYS = ("exchange", "symbol", "interval")


def enter(native: Any, function: str, needed: Iterable[str], times: Iterable[str]) -> Table:
    """The table under narwhals, after a look at its engine and columns; nothing is computed.

    Raises:
        Unsupported: the function is not proven on this engine.
        UsageError: it is no table, columns are missing, or its times are not times.
    """
    table: Table
    try:
        table = nw.from_native(native)
    except TypeError:
        raise UsageError(f"{function} takes a table of {_listed(ENGINES)}, not {type(native).__name__}.") from None
    engine = table.implementation.value
    if engine not in ENGINES:
        raise Unsupported(f"{function} is not proven on {engine}; give it a table of {_listed(ENGINES)}.")
    schema = table.collect_schema()
    missing = [column for column in needed if column not in schema]
    if missing:
        raise UsageError(f"{function} needs the columns {', '.join(needed)}; missing here: {', '.join(missing)}.")
    for column in times:
        if not isinstance(schema[column], nw.Datetime):
            raise UsageError(f"{function} needs times in the column {column}, which holds {schema[column]}.")
    return table


def _listed(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"


def keys(table: Table) -> list[str]:
    """The columns that tell one series of bars from another: exchange, symbol and interval, as far as there."""
    schema = table.collect_schema()
    return [column for column in _KEYS if column in schema]


def in_time_order(table: "nw.DataFrame[Any]", by: list[str], time: str) -> "nw.DataFrame[Any]":
    """The rows such that each series runs forward in time; sorted only if they do not yet (sorting costs as much as
    the work that follows)."""
    falls = (nw.col(time) < nw.col(time).shift(1)).fill_null(value=False)
    if not table.select(falls.any()).item():
        return table
    changes = [(nw.col(column) != nw.col(column).shift(1)).fill_null(value=True) for column in by]
    marked = table.select(*by, _falls=falls, _changes=nw.any_horizontal(*changes, ignore_nulls=True))
    heads = marked.filter(nw.col("_changes"))
    in_blocks = not heads.select(by).is_duplicated().any()
    if in_blocks and not marked.select((nw.col("_falls") & ~nw.col("_changes")).any()).item():
        return table
    return table.sort(time)
