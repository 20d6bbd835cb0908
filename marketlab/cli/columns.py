"""Columns that people name on the command line."""

import polars as pl

from marketlab import tables
from marketlab.errors import UsageError

__all__ = ["selected"]


def selected(table: str, columns: str | None) -> pl.DataFrame:
    """The table without rows, and only with the columns that were named, and origin, which never goes missing.

    Raises:
        UsageError: there is no such table or column, or no column is named.
    """
    everything = tables.empty(table)
    if columns is None:
        return everything
    named = columns.replace(",", " ").split()
    if not named:
        raise UsageError(f"--columns names none of {', '.join(everything.columns)}.")
    for name in named:
        if name not in everything.columns:
            raise UsageError(f"{table} has no column {name!r}. Columns: {', '.join(everything.columns)}.")
    return everything.select(list(dict.fromkeys([*named, "origin"])))
