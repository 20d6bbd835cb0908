"""Live files of a Delta table as one lazy table, read by their names on the disk.

deltalake names files by URIs, in which everything but plain letters is escaped and which are no paths. Its add
actions name them relative to the table, escaped once, and that is what is used here.
"""

from pathlib import Path
from urllib.parse import unquote

import polars as pl

from marketlab import tables
from marketlab.stores.delta_terms import PARTITION, SLACK
from marketlab.stores.selection import Selection

__all__ = ["chosen", "paths", "scan"]


def paths(root: Path, files: pl.DataFrame) -> list[Path]:
    """Where the files of a listing lie."""
    return [root / unquote(path) for path in files.get_column("path")]


def chosen(files: pl.DataFrame, wanted: Selection) -> pl.DataFrame:
    """The files that may hold rows of a selection, going by partition and by the range (low, high) of the time."""
    for column, value in (("exchange", wanted.exchange), ("symbol", wanted.symbol)):
        if value is not None:
            files = files.filter(pl.col(column) == value)
    if wanted.start is not None:
        files = files.filter(pl.col("high").is_null() | (pl.col("high") + SLACK >= wanted.start))
    if wanted.end is not None:
        files = files.filter(pl.col("low").is_null() | (pl.col("low") < wanted.end))
    return files


def scan(root: Path, table: tables.TableSpec, files: pl.DataFrame) -> pl.LazyFrame:
    """The rows of the files, with the columns of the table, in no promised order."""
    if files.is_empty():
        return tables.empty(table.name).lazy()
    kinds = dict.fromkeys(PARTITION, pl.String())
    if "=" not in str(root):
        # One scan that knows its partitions, so that a filter on them opens no file in vain.
        return pl.scan_parquet(
            paths(root, files), schema=dict(table.schema), glob=False, hive_partitioning=True, hive_schema=kinds
        )
    # polars would take a parent folder `a=b` for a partition.
    rest = {column: kind for column, kind in table.schema.items() if column not in PARTITION}
    parts = [
        pl.scan_parquet(paths(root, group), schema=rest, glob=False, hive_partitioning=False)
        .with_columns(pl.lit(value, pl.String).alias(column) for column, value in zip(PARTITION, values, strict=True))
        .select(list(table.schema))
        for values, group in files.group_by(PARTITION, maintain_order=True)
    ]
    return pl.concat(parts)
