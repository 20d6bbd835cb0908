"""What a store takes: tables of the promised schema that hold nothing but facts."""

from typing import Any, get_args

import polars as pl

from marketlab import records, tables
from marketlab.errors import UsageError, WriteRejected

__all__ = ["accepted"]

_WORDS = {"side": get_args(records.Side), "origin": records.ORIGINS}
_SIDES_OF_BOOK = ("bids", "asks")


def accepted(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """The table as it may be stored: of the promised schema, unique by key and in order.

    Raises:
        UsageError: there is no such table, or what is handed over is no polars table.
        WriteRejected: it does not fit; `rows` are the offending ones (empty: the table as a whole).
    """
    _require_table(name, table)
    wanted = tables.spec(name)
    if list(table.schema.items()) != list(wanted.schema.items()):
        try:
            tables.check(name, table)
        except UsageError as error:
            raise WriteRejected(str(error)) from None
        table = table.select(list(wanted.schema))
    nullable = wanted.nullable
    # Nearly always all is well: a column is asked as a whole, and which row it was only then.
    holed = [column for column in wanted.schema if column not in nullable and table.get_column(column).null_count()]
    lacking = [pl.col(column).is_null() for column in holed]
    lacking += [pl.col(column) == "" for column in ("exchange", "symbol") if (table.get_column(column) == "").any()]
    _refuse(name, table, lacking, "lack a value that every row must have")
    numbers = [column for column, kind in wanted.schema.items() if kind == pl.Float64()]
    finite = table.select(pl.col(numbers).is_finite().all())
    wild = [column for column in numbers if not finite.item(0, column)]
    _refuse(name, table, [~pl.col(column).is_finite() for column in wild], "hold a number that is NaN or infinite")
    for column in wanted.schema:
        if column in _WORDS:
            words = _WORDS[column]
            if not set(table.get_column(column).unique()) <= set(words):
                _refuse(name, table, [~pl.col(column).is_in(words)], f"have a {column} other than {', '.join(words)}")
        elif column in _SIDES_OF_BOOK and not _is_finite(table.get_column(column)):
            _refuse(name, table, [_has_wild_level(column)], f"hold a level among the {column} that is NaN or infinite")
    return tables.in_order(name, tables.unique(name, table))


def _require_table(name: Any, table: Any) -> None:
    if not isinstance(name, str):
        raise UsageError(f"table is one name as text, not {name!r}.")
    if not isinstance(table, pl.DataFrame):
        kind = type(table)
        raise UsageError(
            f"{name} is written as a polars DataFrame, not as {kind.__module__}.{kind.__qualname__}; make one with "
            "tables.to_table(...), pl.from_pandas(...) or collect()."
        )


def _refuse(name: str, table: pl.DataFrame, faults: list[pl.Expr], words: str) -> None:
    if not faults:
        return
    wrong = table.select(pl.any_horizontal(fault.fill_null(False) for fault in faults).arg_true())
    rows = wrong.to_series().to_list()
    if rows:
        raise WriteRejected(f"{len(rows)} rows of {name} {words}.", rows=rows)


def _is_finite(levels: pl.Series) -> bool:
    # Of all rows at once, which is quick; which row it was is asked only then.
    flat = levels.explode().drop_nulls().struct.unnest()
    if flat.height != levels.list.len().sum():
        return False
    return bool(flat.select(pl.all().is_finite().fill_null(False).all()).row(0) == (True, True))


def _has_wild_level(column: str) -> pl.Expr:
    price, size = pl.element().struct.field("price"), pl.element().struct.field("size")
    return ~pl.col(column).list.eval((price.is_finite() & size.is_finite()).fill_null(False)).list.all()
