"""Live files of a Delta table as one lazy table, read by their names on the disk.

deltalake names files by URIs, in which everything but plain letters is escaped and which are no paths. Its add
actions name them relative to the table, escaped once, and that is what is used here.
"""

from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from marketlab import tables
from marketlab.stores.delta_terms import PARTITION, SLACK, ranged
from marketlab.stores.selection import Selection

__all__ = ["chosen", "listing", "paths", "scan"]


def listing(handle: DeltaTable, table: tables.TableSpec) -> pl.DataFrame:
    """The live files: path, exchange, symbol, rows, bytes, the range (low, high) of the time, and that (least, most) of the
    column by which rows are looked for; ranges are null where they are unknown."""
    actions = pl.DataFrame(handle.get_add_actions(flatten=True))
    edges = {"low": ("min", table.time), "high": ("max", table.time)}
    edges |= {"least": ("min", ranged(table)), "most": ("max", ranged(table))}
    if actions.is_empty():
        schema = {**dict.fromkeys(("path", *PARTITION), pl.String()), "rows": pl.Int64(), "bytes": pl.Int64()}
        return pl.DataFrame(schema={**schema, **{name: table.schema[column] for name, (_, column) in edges.items()}})
    have = actions.columns
    return actions.select(
        "path",
        *(pl.col(f"partition.{column}").alias(column) for column in PARTITION),
        pl.col("num_records").alias("rows"),
        pl.col("size_bytes").alias("bytes"),
        *(
            (pl.col(f"{edge}.{column}") if f"{edge}.{column}" in have else pl.lit(None))
            .cast(table.schema[column])
            .alias(name)
            for name, (edge, column) in edges.items()
        ),
    )


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
    # Most questions are of one symbol: its rows are then in order already, or nearly.
    files = files.sort("low")
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
