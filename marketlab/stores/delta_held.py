"""Which rows a Delta table already holds of a batch: keys and ranks, looked up in the files that may have them.

Rows are looked for by the column that `delta_terms.ranged` names, with the statistics of files. What this process has
written itself it still knows, so that batches which follow one another open no file.
"""

from pathlib import Path
from urllib.parse import unquote

import polars as pl

from marketlab import tables
from marketlab.stores import delta_terms
from marketlab.stores.delta_scan import paths
from marketlab.stores.delta_terms import PARTITION
from marketlab.stores.upsert import RANKS

__all__ = ["Held"]

REMEMBERED_ROWS = 100_000


class Held:
    """Keys and ranks of the rows in the files of one table below `root`."""

    def __init__(self, root: Path, table: tables.TableSpec) -> None:
        self.root = root
        self.ranged = delta_terms.ranged(table)
        self._schema = {column: table.schema[column] for column in [*table.key, *RANKS.get(table.name, ())]}
        self._slack = delta_terms.slack(table)
        self._known: dict[str, pl.DataFrame] = {}
        self._rows = 0

    def find(self, files: pl.DataFrame, batch: pl.DataFrame) -> pl.DataFrame:
        """Keys and ranks of the stored rows that a batch could collide with."""
        nothing = pl.DataFrame(schema=self._schema)
        if self._is_beyond(files, batch):
            return nothing
        near = self._near(files, batch)
        if near.is_empty():
            return nothing
        known = [self._known.get(unquote(path)) for path in near.get_column("path")]
        unknown = near.filter(pl.Series([rows is None for rows in known], dtype=pl.Boolean))
        looked_up = [self._looked_up(values, group) for values, group in unknown.group_by(PARTITION)]
        found = pl.collect_all(looked_up) if looked_up else []
        return pl.concat([nothing, *(rows for rows in known if rows is not None), *found])

    def remember(self, path: str, rows: pl.DataFrame) -> None:
        """What the file `path` below `root` holds, which nothing can change; the oldest are forgotten."""
        self._known[path] = rows.select(list(self._schema))
        self._rows += rows.height
        while self._rows > REMEMBERED_ROWS:
            self._rows -= self._known.pop(next(iter(self._known))).height

    def _is_beyond(self, files: pl.DataFrame, batch: pl.DataFrame) -> bool:
        # As nearly every batch is: newer than all that is stored.
        most = files.get_column("most")
        newest = batch.select((pl.col(self.ranged).min() - self._slack) > most.max()).item() if most.len() else True
        return bool(newest) and not most.null_count()

    def _near(self, files: pl.DataFrame, batch: pl.DataFrame) -> pl.DataFrame:
        by = pl.col(self.ranged)
        bounds = batch.group_by(PARTITION).agg(
            (by.min() - self._slack).alias("from"), (by.max() + self._slack).alias("to")
        )
        return files.join(bounds, on=PARTITION).filter(
            (pl.col("least") <= pl.col("to")).fill_null(True) & (pl.col("most") >= pl.col("from")).fill_null(True)
        )

    def _looked_up(self, values: tuple[object, ...], group: pl.DataFrame) -> pl.LazyFrame:
        named = [pl.lit(value, pl.String).alias(column) for column, value in zip(PARTITION, values, strict=True)]
        within = pl.col(self.ranged).is_between(group.item(0, "from"), group.item(0, "to"))
        rows = pl.scan_parquet(paths(self.root, group), glob=False, hive_partitioning=False)
        return rows.filter(within).with_columns(named).select(list(self._schema))
