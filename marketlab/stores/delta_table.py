"""One Delta table, partitioned by exchange and symbol, into which a batch lands exactly once.

1. A commit is pinned to the version that was looked at: which rows are new or better is judged on version v, and the
   commit may only become v + 1 (no commit retries inside delta-rs, which would put it on top of rows that nobody
   compared it with). When somebody else was faster, everything is judged again. So rows stay unique by key with any
   number of writers.
2. A batch carries an application transaction (writer, segment). delta-rs accepts equal and lower versions and would
   write the rows again, so a batch that the table already has is skipped here.
3. Stored rows are looked for in the files whose statistics overlap the batch, by the column of `_RANGE`: ids where
   the time of a row is not the exchange's (a quote that is collected again has another `time`), else the time.
   Statistics hold milliseconds, and one fact may be told in milliseconds and in microseconds: ranges are widened.
4. Only new rows: an append. Better rows too: one merge for all symbols. Nothing new: no commit.
5. Small files are put together as they become many. Rows of one commit are sorted by time and commits follow one
   another in time; compaction keeps that order. Files that no version needs stay for `RETENTION_HOURS`, so that
   nobody's running read breaks.
"""

import logging
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError, TableNotFoundError
from deltalake.schema import ArrayType, DataType, Field, PrimitiveType, Schema, StructType

from marketlab import tables
from marketlab.errors import StoreError, StoreUnavailable, WriteRejected
from marketlab.stores import crashpoints
from marketlab.stores.contract import Commit
from marketlab.stores.selection import Selection
from marketlab.stores.upsert import RANKS, Changes, changes

__all__ = ["HistoryTable"]

RETENTION_HOURS = 24
FILE_BYTES = 128 * 1024 * 1024
TRIES = 25

_log = logging.getLogger(__name__)
_PARTITION = ("exchange", "symbol")
_RANGE = {"quotes": "update_id", "book_updates": "last_id", "book_snapshots": "update_id"}
_SLACK = timedelta(milliseconds=1)
_SETTINGS = {"delta.logRetentionDuration": "interval 1 days", "delta.checkpointInterval": "50"}
_PROPERTIES = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=131_072)
_LEVEL = StructType([Field("price", PrimitiveType("double")), Field("size", PrimitiveType("double"))])
_TYPES: dict[Any, DataType] = {
    pl.String(): PrimitiveType("string"),
    pl.Int64(): PrimitiveType("long"),
    pl.Float64(): PrimitiveType("double"),
    pl.Boolean(): PrimitiveType("boolean"),
    tables.TIME: PrimitiveType("timestamp"),
    tables.LEVELS: ArrayType(_LEVEL, contains_null=True),
}


class HistoryTable:
    """The table `name` in the folder `path`. One thread at a time; other processes as they like.

    `small_files` is by how many small files a table may exceed the number of its partitions before they are joined.
    """

    def __init__(self, path: Path, name: str, small_files: int) -> None:
        self.path = path
        self.name = name
        self.small_files = small_files
        self.spec = tables.spec(name)
        self._kept: DeltaTable | None = None
        self._pause = Event()

    def open(self) -> DeltaTable | None:
        """A handle of its own on the newest version; None where nothing was ever stored.

        Raises:
            StoreUnavailable: the table cannot be read just now.
        """
        if not (self.path / "_delta_log").is_dir():
            return None
        try:
            return DeltaTable(self.path)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise self._mapped(error) from error

    def write(self, batch: pl.DataFrame, commit: Commit | None) -> int:
        """Store rows that are accepted; returns how many were new or better.

        Raises:
            WriteRejected: the table on the disk has other columns.
            StoreUnavailable: try again later; nothing of the batch was stored, or all of it.
        """
        return self._pinned(lambda handle: self._upsert(handle, batch, commit), create=True)

    def delete(self, going: Selection) -> int:
        """Remove the rows that are selected; returns how many."""

        def remove(handle: DeltaTable) -> int:
            rows = pl.scan_delta(handle)
            condition = going.expression
            count = (rows if condition is None else rows.filter(condition)).select(pl.len()).collect().item()
            if count:
                handle.delete(_sql(going), commit_properties=_pinning(None))
            return int(count)

        return self._pinned(remove, create=False)

    def instruments(self) -> set[tuple[str, str]]:
        """The exchanges and symbols that have rows."""
        handle = self.open()
        if handle is None:
            return set()
        return set(self.files(handle, self.ranged).select(_PARTITION).unique().iter_rows())

    def spans(self, wanted: Selection) -> list[tuple[int, int, int]]:
        """First time, last time and rows of each file that a selection may touch."""
        handle = self.open()
        if handle is None:
            return []
        files = self.files(handle, self.spec.time).drop_nulls(["low", "high"])
        for column, value in (("exchange", wanted.exchange), ("symbol", wanted.symbol)):
            if value is not None:
                files = files.filter(pl.col(column) == value)
        # Statistics hold milliseconds; what is cut a little off still lies in one of two neighbouring stretches.
        return files.select(pl.col("low", "high").cast(pl.Int64), "rows").rows()

    def files(self, handle: DeltaTable, column: str) -> pl.DataFrame:
        """The live files: path, exchange, symbol, rows, bytes, and the range (low, high) of a column, null if unknown."""
        actions = pl.DataFrame(handle.get_add_actions(flatten=True))
        kind = self.spec.schema[column]
        if actions.is_empty():
            texts = dict.fromkeys(("path", *_PARTITION), pl.String)
            return pl.DataFrame(schema={**texts, "rows": pl.Int64, "bytes": pl.Int64, "low": kind, "high": kind})
        bounds = [
            (pl.col(f"{edge}.{column}") if f"{edge}.{column}" in actions.columns else pl.lit(None))
            .cast(kind)
            .alias(alias)
            for edge, alias in (("min", "low"), ("max", "high"))
        ]
        return actions.select(
            "path",
            pl.col("partition.exchange").alias("exchange"),
            pl.col("partition.symbol").alias("symbol"),
            pl.col("num_records").alias("rows"),
            pl.col("size_bytes").alias("bytes"),
            *bounds,
        )

    def held(self, handle: DeltaTable, batch: pl.DataFrame) -> pl.DataFrame:
        """Keys and ranks of the stored rows that a batch could collide with."""
        wanted = [*self.spec.key, *RANKS.get(self.name, ())]
        parts = [
            pl.scan_parquet(paths, glob=False, hive_partitioning=False)
            .filter(pl.col(self.ranged).is_between(low, high))
            .select(
                pl.lit(exchange, pl.String).alias("exchange"),
                pl.lit(symbol, pl.String).alias("symbol"),
                *[column for column in wanted if column not in _PARTITION],
            )
            for exchange, symbol, low, high, paths in self._overlapping(handle, batch)
        ]
        if not parts:
            return pl.DataFrame(schema={column: self.spec.schema[column] for column in wanted})
        return pl.concat(pl.collect_all(parts))

    @property
    def ranged(self) -> str:
        """The column by whose range stored rows are looked for."""
        return _RANGE.get(self.name, self.spec.time)

    def maintain(self, handle: DeltaTable) -> None:
        """Put small files together, make a checkpoint, and remove what nobody has needed for a day.

        Raises:
            DeltaError, OSError: it did not work out, which harms nobody.
        """
        crashpoints.soon_after("during-compaction")
        handle.optimize.compact(
            target_size=FILE_BYTES,
            max_concurrent_tasks=1,
            writer_properties=_PROPERTIES,
            commit_properties=_pinning(None),
        )
        crashpoints.reach("after-compaction")
        handle.create_checkpoint()
        handle.cleanup_metadata()
        handle.vacuum(RETENTION_HOURS, dry_run=False, enforce_retention_duration=False)

    def _pinned(self, work: Callable[[DeltaTable], int], *, create: bool) -> int:
        for attempt in range(TRIES):
            try:
                handle = self._newest(create=create)
                if handle is None:
                    return 0
                return work(handle)
            except CommitFailedError:
                self._kept = None
                self._pause.wait(min(1.0, 0.01 * 2**attempt) * random.random())
            except SchemaMismatchError as error:
                raise WriteRejected(f"The table {self.path} has other columns: {error}") from error
            except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
                self._kept = None
                raise self._mapped(error) from error
        raise StoreUnavailable(f"Other writers were faster {TRIES} times in {self.path}; it will be tried again.")

    def _newest(self, *, create: bool) -> DeltaTable | None:
        if self._kept is None:
            self._kept = self.open()
            if self._kept is None and create:
                self._kept = self._created()
        else:
            self._kept.update_incremental()
        return self._kept

    def _created(self) -> DeltaTable:
        # Empty first: a first write that fails would leave a folder that no reader understands.
        self.path.mkdir(parents=True, exist_ok=True)
        schema = Schema([Field(column, _TYPES[kind], nullable=True) for column, kind in self.spec.schema.items()])
        return DeltaTable.create(
            self.path, schema, mode="ignore", partition_by=list(_PARTITION), configuration=_SETTINGS
        )

    def _upsert(self, handle: DeltaTable, batch: pl.DataFrame, commit: Commit | None) -> int:
        self._check_columns(handle)
        if commit is not None:
            last = handle.transaction_version(commit.writer)
            if last is not None and last >= commit.segment:
                return 0
        found = changes(self.name, self.held(handle, batch), batch)
        if not found.rows:
            return 0
        if found.better.is_empty():
            write_deltalake(
                handle,
                found.new,
                mode="append",
                writer_properties=_PROPERTIES,
                target_file_size=FILE_BYTES,
                commit_properties=_pinning(commit),
            )
        else:
            self._merge(handle, found, commit)
        self._maintain_when_due(handle)
        return found.rows

    def _merge(self, handle: DeltaTable, found: Changes, commit: Commit | None) -> None:
        rows = pl.concat([found.better, found.new])
        symbols = ", ".join(_text(symbol) for symbol in rows.get_column("symbol").unique().sort())
        exchanges = ", ".join(_text(exchange) for exchange in rows.get_column("exchange").unique().sort())
        low, high = (_literal(edge) for edge in _edges(rows.get_column(self.ranged)))
        predicate = (
            f"held.exchange IN ({exchanges}) AND held.symbol IN ({symbols}) "
            f'AND held."{self.ranged}" >= {low} AND held."{self.ranged}" <= {high} AND '
            + " AND ".join(f'held."{column}" = batch."{column}"' for column in self.spec.key)
        )
        (
            handle.merge(
                rows,
                predicate,
                source_alias="batch",
                target_alias="held",
                writer_properties=_PROPERTIES,
                commit_properties=_pinning(commit),
            )
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute()
        )

    def _overlapping(self, handle: DeltaTable, batch: pl.DataFrame) -> Iterator[tuple[str, str, Any, Any, list[Path]]]:
        files = self.files(handle, self.ranged)
        by = pl.col(self.ranged)
        slack = pl.lit(_SLACK) if self.spec.schema[self.ranged] == tables.TIME else pl.lit(0)
        bounds = batch.group_by(_PARTITION).agg((by.min() - slack).alias("from"), (by.max() + slack).alias("to"))
        near = files.join(bounds, on=_PARTITION).filter(
            (pl.col("low").is_null() | (pl.col("low") <= pl.col("to")))
            & (pl.col("high").is_null() | (pl.col("high") >= pl.col("from")))
        )
        for (exchange, symbol), group in near.group_by(_PARTITION):
            paths = [self.path / unquote(path) for path in group.get_column("path")]
            yield str(exchange), str(symbol), group.item(0, "from"), group.item(0, "to"), paths

    def _maintain_when_due(self, handle: DeltaTable) -> None:
        try:
            small = self.files(handle, self.ranged).filter(pl.col("bytes") < FILE_BYTES // 2)
            surplus = small.height - small.select(pl.struct(_PARTITION).n_unique()).item()
            if surplus >= self.small_files:
                self.maintain(handle)
        except (DeltaError, OSError) as error:
            # The rows are stored; tidying up is tried again after the next batch.
            self._kept = None
            _log.info("Compaction of %s is put off: %s", self.path, error)

    def _check_columns(self, handle: DeltaTable) -> None:
        have = {field.name: field.type for field in handle.schema().fields}
        wanted = {column: _TYPES[kind] for column, kind in self.spec.schema.items()}
        if have.keys() != wanted.keys() or any(str(have[column]) != str(kind) for column, kind in wanted.items()):
            raise WriteRejected(f"The table {self.path} on the disk has other columns than {self.name}.")

    def _mapped(self, error: Exception) -> StoreError:
        words = str(error)
        for sign, advice in _DISK.items():
            if sign in words:
                return StoreUnavailable(f"Cannot write to {self.path}: {advice}.")
        return StoreUnavailable(f"{self.path} does not answer: {words.splitlines()[0][:300]}")


_DISK = {
    "os error 28": "the disk is full: free some room",
    "os error 122": "the disk quota is used up: free some room",
    "os error 27": "the file size limit of this process is reached: raise it (ulimit -f)",
    "os error 30": "the disk is read-only: remount it or choose another place",
    "os error 13": "permission is missing: change the folder's rights or choose another place",
}


def _pinning(commit: Commit | None) -> CommitProperties:
    transactions = [Transaction(commit.writer, commit.segment)] if commit is not None else None
    return CommitProperties(max_commit_retries=0, app_transactions=transactions)


def _edges(column: pl.Series) -> tuple[Any, Any]:
    low, high = column.min(), column.max()
    return (low - _SLACK, high + _SLACK) if isinstance(low, datetime) and isinstance(high, datetime) else (low, high)


def _sql(selection: Selection) -> str | None:
    parts = [
        f"{column} = {_text(value)}"
        for column, value in (("exchange", selection.exchange), ("symbol", selection.symbol))
        if value is not None
    ]
    for moment, sign in ((selection.start, ">="), (selection.end, "<")):
        if moment is not None:
            parts.append(f'"{selection.table.time}" {sign} {_literal(moment)}')
    return " AND ".join(parts) or None


def _literal(value: Any) -> str:
    if isinstance(value, datetime):
        return f"arrow_cast({_text(value.isoformat())}, 'Timestamp(Microsecond, Some(\"UTC\"))')"
    return str(value)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
