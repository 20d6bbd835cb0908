"""One Delta table, partitioned by exchange and symbol, into which a batch lands exactly once.

1. A commit is pinned to the version that was looked at: which rows are new or better is judged on version v, and the
   commit may only become v + 1 (no commit retries inside delta-rs, which would put it on top of rows that nobody
   compared it with). When somebody else was faster, everything is judged again. So rows stay unique by key with any
   number of writers.
2. A batch carries an application transaction (writer, segment). delta-rs accepts equal and lower versions and would
   write the rows again, so a batch that the table already has is skipped here.
3. Stored rows are looked for in the files whose statistics overlap the batch, by the column that `ranged` names: ids where
   the time of a row is not the exchange's (a quote that is collected again has another `time`), else the time.
4. Only new rows: an append. Better rows too: one merge for all symbols. Nothing new: no commit.
5. Files are joined as they become many: small ones to middling ones often, those to large ones seldom, so that a
   row is written anew a few times and not once per compaction. Rows of one commit are sorted by time and commits
   follow one another in time; compaction keeps that order. Files that no version needs any more stay for
   `RETENTION_HOURS`, so that nobody's running read breaks.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError, TableNotFoundError

from marketlab import tables
from marketlab.errors import StoreUnavailable, WriteRejected
from marketlab.stores import crashpoints, delta_terms
from marketlab.stores.contract import Commit
from marketlab.stores.delta_scan import chosen, paths, scan
from marketlab.stores.delta_terms import PARTITION
from marketlab.stores.selection import Selection
from marketlab.stores.upsert import RANKS, changes

__all__ = ["HistoryTable"]

RETENTION_HOURS = 24
SMALL = 8 * 1024 * 1024
LARGE = 128 * 1024 * 1024
TRIES = 25
FRESH_SECONDS = 600.0

_log = logging.getLogger(__name__)
_SETTINGS = {"delta.logRetentionDuration": "interval 1 days", "delta.checkpointInterval": "50"}
_PROPERTIES = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=131_072)


class HistoryTable:
    """The table `name` in the folder `path`. One thread at a time; other processes as they like.

    `small_files` is by how many small files a table may exceed the number of its partitions before they are joined.
    """

    def __init__(self, path: Path, name: str, small_files: int) -> None:
        self.path = path
        self.name = name
        self.small_files = small_files
        self.spec = tables.spec(name)
        self.ranged = delta_terms.ranged(self.spec)
        self._kept: DeltaTable | None = None
        self._kept_at = 0.0
        self._pause = Event()

    def open(self) -> DeltaTable | None:
        """A handle of its own on the newest version; None where nothing was ever stored.

        Raises:
            StoreUnavailable: the table cannot be read just now.
        """
        try:
            # Asked for first, since deltalake says the same of what is not there and of what cannot be looked at.
            (self.path / "_delta_log").stat()
            return DeltaTable(self.path)
        except FileNotFoundError:
            return None
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise delta_terms.mistake(self.path, error) from error

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
            count = self.scan(handle, going).select(pl.len()).collect().item()
            if count:
                handle.delete(delta_terms.condition(going), commit_properties=_pinning(None))
            return int(count)

        return self._pinned(remove, create=False)

    def scan(self, handle: DeltaTable, wanted: Selection) -> pl.LazyFrame:
        """The rows that are selected, with all columns, in no promised order.

        Raises:
            StoreUnavailable: the table on the disk has other columns.
        """
        if not delta_terms.same_columns(self.spec, handle.schema()):
            raise StoreUnavailable(f"The table {self.path} on the disk has other columns than {self.name}.")
        rows = scan(self.path, self.spec, chosen(self.files(handle, self.spec.time), wanted))
        return rows if wanted.expression is None else rows.filter(wanted.expression)

    def instruments(self) -> set[tuple[str, str]]:
        """The exchanges and symbols that have rows."""
        handle = self.open()
        if handle is None:
            return set()
        return set(self.files(handle, self.ranged).select(PARTITION).unique().iter_rows())

    def spans(self, wanted: Selection) -> list[tuple[int, int, int]]:
        """First time, last time and rows of each file that a selection may touch."""
        handle = self.open()
        if handle is None:
            return []
        files = chosen(self.files(handle, self.spec.time), wanted).drop_nulls(["low", "high"])
        # Statistics hold milliseconds; what is cut a little off still lies in one of two neighbouring stretches.
        return files.select(pl.col("low", "high").cast(pl.Int64), "rows").rows()

    def files(self, handle: DeltaTable, column: str) -> pl.DataFrame:
        """The live files: path, exchange, symbol, rows, bytes, and the range (low, high) of a column, null if unknown."""
        actions = pl.DataFrame(handle.get_add_actions(flatten=True))
        kind = self.spec.schema[column]
        if actions.is_empty():
            texts = dict.fromkeys(("path", *PARTITION), pl.String)
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
        return self._held_in(self.files(handle, self.ranged), batch)

    def maintain(self, handle: DeltaTable, target_bytes: int) -> None:
        """Join files below a size, make a checkpoint, and remove what nobody has needed for a day.

        Raises:
            DeltaError, OSError: it did not work out, which harms nobody.
        """
        crashpoints.soon_after("during-compaction")
        handle.optimize.compact(
            target_size=target_bytes,
            max_concurrent_tasks=1,
            writer_properties=_PROPERTIES,
            commit_properties=_pinning(None),
        )
        crashpoints.reach("after-compaction")
        handle.create_checkpoint()
        handle.cleanup_metadata()
        # In full: the files of a commit that came too late are in no version.
        handle.vacuum(RETENTION_HOURS, dry_run=False, enforce_retention_duration=False, full=True)

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
                raise delta_terms.mistake(self.path, error) from error
        raise StoreUnavailable(f"Other writers were faster {TRIES} times in {self.path}; it will be tried again.")

    def _newest(self, *, create: bool) -> DeltaTable | None:
        now = time.time()
        # A handle steps from commit to commit, and commits that are older than a checkpoint are cleaned away in the
        # end; one that has slept for long must not take the last step that it can find for the newest version.
        if self._kept is not None and abs(now - self._kept_at) < FRESH_SECONDS:
            self._kept.update_incremental()
        else:
            self._kept = self.open()
            if self._kept is None and create:
                self._kept = self._created()
        self._kept_at = now
        return self._kept

    def _created(self) -> DeltaTable:
        # Empty first: a first write that fails would leave a folder that no reader understands.
        self.path.mkdir(parents=True, exist_ok=True)
        schema = delta_terms.schema(self.spec)
        return DeltaTable.create(
            self.path, schema, mode="ignore", partition_by=list(PARTITION), configuration=_SETTINGS
        )

    def _upsert(self, handle: DeltaTable, batch: pl.DataFrame, commit: Commit | None) -> int:
        if not delta_terms.same_columns(self.spec, handle.schema()):
            raise WriteRejected(f"The table {self.path} on the disk has other columns than {self.name}.")
        if commit is not None:
            last = handle.transaction_version(commit.writer)
            if last is not None and last >= commit.segment:
                return 0
        files = self.files(handle, self.ranged)
        found = changes(self.name, self._held_in(files, batch), batch)
        if not found.rows:
            return 0
        if found.better.is_empty():
            write_deltalake(
                handle,
                found.new,
                mode="append",
                writer_properties=_PROPERTIES,
                target_file_size=LARGE,
                commit_properties=_pinning(commit),
            )
        else:
            self._merge(handle, pl.concat([found.better, found.new]), commit)
        self._maintain_when_due(handle, files)
        return found.rows

    def _merge(self, handle: DeltaTable, rows: pl.DataFrame, commit: Commit | None) -> None:
        merging = handle.merge(
            rows,
            delta_terms.matching(self.spec, rows),
            source_alias="batch",
            target_alias="held",
            writer_properties=_PROPERTIES,
            commit_properties=_pinning(commit),
        )
        merging.when_matched_update_all().when_not_matched_insert_all().execute()

    def _held_in(self, files: pl.DataFrame, batch: pl.DataFrame) -> pl.DataFrame:
        wanted = [*self.spec.key, *RANKS.get(self.name, ())]
        parts = [
            pl.scan_parquet(near, glob=False, hive_partitioning=False)
            .filter(pl.col(self.ranged).is_between(low, high))
            .select(
                pl.lit(exchange, pl.String).alias("exchange"),
                pl.lit(symbol, pl.String).alias("symbol"),
                *[column for column in wanted if column not in PARTITION],
            )
            for exchange, symbol, low, high, near in self._overlapping(files, batch)
        ]
        if not parts:
            return pl.DataFrame(schema={column: self.spec.schema[column] for column in wanted})
        return pl.concat(pl.collect_all(parts))

    def _overlapping(self, files: pl.DataFrame, batch: pl.DataFrame) -> Iterator[tuple[str, str, Any, Any, list[Path]]]:
        by = pl.col(self.ranged)
        slack = pl.lit(delta_terms.SLACK) if self.spec.schema[self.ranged] == tables.TIME else pl.lit(0)
        bounds = batch.group_by(PARTITION).agg((by.min() - slack).alias("from"), (by.max() + slack).alias("to"))
        near = files.join(bounds, on=PARTITION).filter(
            (pl.col("low").is_null() | (pl.col("low") <= pl.col("to")))
            & (pl.col("high").is_null() | (pl.col("high") >= pl.col("from")))
        )
        for (exchange, symbol), group in near.group_by(PARTITION):
            yield str(exchange), str(symbol), group.item(0, "from"), group.item(0, "to"), paths(self.path, group)

    def _maintain_when_due(self, handle: DeltaTable, files: pl.DataFrame) -> None:
        # By the files before this commit: it is due one commit later, and a listing is saved.
        most = max(self.small_files, 5 * _partitions(files))
        middling = (pl.col("bytes") >= SMALL // 2) & (pl.col("bytes") < LARGE // 2)
        try:
            if _surplus(files.filter(middling)) >= most // 2:
                self.maintain(handle, LARGE)
            elif _surplus(files.filter(pl.col("bytes") < SMALL // 2)) >= most:
                self.maintain(handle, SMALL)
        except (DeltaError, OSError) as error:
            # The rows are stored; tidying up is tried again after the next batch.
            self._kept = None
            _log.info("Compaction of %s is put off: %s", self.path, error)


def _partitions(files: pl.DataFrame) -> int:
    return int(files.select(pl.struct(PARTITION).n_unique()).item())


def _surplus(files: pl.DataFrame) -> int:
    return files.height - _partitions(files)


def _pinning(commit: Commit | None) -> CommitProperties:
    transactions = [Transaction(commit.writer, commit.segment)] if commit is not None else None
    return CommitProperties(max_commit_retries=0, app_transactions=transactions)
