"""One Delta table, partitioned by exchange and symbol, into which a batch lands exactly once.

1. A commit is pinned to the version that was looked at: which rows are new or better is judged on version v, and the
   commit may only become v + 1 (no commit retries inside delta-rs, which would put it on top of rows that nobody
   compared it with). When somebody else was faster, everything is judged again. So rows stay unique by key with any
   number of writers.
2. A batch carries an application transaction (writer, segment). delta-rs accepts equal and lower versions and would
   write the rows again, so a batch that the table already has is skipped here.
3. Stored rows are looked for in the files whose statistics overlap the batch, by the column that `ranged` names: ids where
   the time of a row is not the exchange's (a quote that is collected again has another `time`), else the time.
4. A batch of many symbols with few rows each goes to the stage (see `delta_stage`), any other into the table. Only new
   rows: an append. Better rows too: one merge for all symbols. Nothing new: no commit.
5. Files are joined as they become many: small ones to middling ones often, those to large ones seldom, so that a
   row is written anew a few times and not once per compaction. Rows of one commit are sorted by time and commits
   follow one another in time; compaction keeps that order. Files that no version needs any more stay for
   `RETENTION_HOURS`, so that nobody's running read breaks.
"""

import logging
import random
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import TypeVar

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, WriterProperties
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError
from deltalake.transaction import AddAction, RemoveAction

from marketlab import tables
from marketlab.errors import StoreUnavailable, WriteRejected
from marketlab.stores import crashpoints, delta_stage, delta_terms
from marketlab.stores.contract import Commit
from marketlab.stores.delta_files import GROUP_ROWS, removing, written
from marketlab.stores.delta_handle import KeptHandle
from marketlab.stores.delta_held import Held
from marketlab.stores.delta_scan import chosen, scan
from marketlab.stores.delta_stage import Stage, Staged, is_thin
from marketlab.stores.delta_terms import PARTITION
from marketlab.stores.selection import Selection
from marketlab.stores.upsert import Changes, changes

__all__ = ["HistoryTable"]

RETENTION_HOURS = 24
SMALL = 8 * 1024 * 1024
LARGE = 128 * 1024 * 1024
JOINED_ROWS = 500_000
TRIES = 25
_LOOKS = 20  # at another table's stage, in the time for which its rows may wait

T = TypeVar("T")
_log = logging.getLogger(__name__)
_PROPERTIES = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=GROUP_ROWS)
# What is past keeping is looked for when files are joined, and not by listing the whole log at each commit.
_QUIETLY = PostCommitHookProperties(cleanup_expired_logs=False)


class HistoryTable:
    """The table `name` in the folder `path`. One thread at a time; other processes as they like.

    `small_files` is by how many small files a table may exceed the number of its partitions before they are joined,
    `many_symbols` how many it takes in one batch for few rows of each to go by the stage.
    """

    def __init__(self, path: Path, name: str, small_files: int, many_symbols: int) -> None:
        self.path = path
        self.name = name
        self.small_files = small_files
        self.many_symbols = many_symbols
        self.spec = tables.spec(name)
        self._held = Held(path, self.spec)
        self._stage = Stage(path.parent / "_recent" / path.name, self.spec)
        self._next_look = 0.0
        # Apart, since a reader's step to the next version must not move the one that a writer has judged by.
        self._writing = KeptHandle(path)
        self._reading = KeptHandle(path)
        self._lock = Lock()
        self._pause = Event()

    def listing(self) -> pl.DataFrame | None:
        """The live files of the newest version, see `delta_scan.listing`; None where nothing was ever stored.

        Raises:
            StoreUnavailable: the table cannot be read just now, or has other columns.
        """
        try:
            with self._lock:
                handle = self._reading.newest()
                if handle is None:
                    return None
                if not delta_terms.same_columns(self.spec, handle.schema()):
                    raise StoreUnavailable(f"The table {self.path} on the disk has other columns than {self.name}.")
                return self._reading.files(self.spec)
        except (DeltaError, OSError) as error:
            raise delta_terms.mistake(self.path, error) from error

    def write(self, batch: pl.DataFrame, commit: Commit | None) -> int:
        """Store rows that are accepted; returns how many were new or better.

        Raises:
            WriteRejected: the table on the disk has other columns.
            StoreUnavailable: try again later; nothing of the batch was stored, or all of it.
        """
        return self._pinned(lambda: self._upsert(batch, commit))

    def delete(self, going: Selection) -> int:
        """Remove the rows that are selected; returns how many."""

        def remove() -> int:
            handle = self._writing.newest()
            if handle is None:
                return 0
            count = self.scan(self._writing.files(self.spec), going).select(pl.len()).collect().item()
            if count:
                handle.delete(delta_terms.condition(going), commit_properties=_pinning(None))
            return int(count)

        self._pinned(self._move)
        return self._pinned(remove)

    def settle(self) -> None:
        """Move all that is on the stage to where it belongs, whoever put it there.

        Raises:
            WriteRejected: the table on the disk has other columns.
            StoreUnavailable: try again later; nothing is lost.
        """
        self._pinned(self._move)

    def settle_when_due(self) -> None:
        """The same once there is enough on the stage, or it has waited long enough; looked after from time to time."""
        if monotonic() >= self._next_look:
            self._next_look = monotonic() + delta_stage.MOST_SECONDS / _LOOKS
            if self._pinned(self._stage.look).is_due:
                self.settle()

    def scan(self, files: pl.DataFrame, wanted: Selection) -> pl.LazyFrame:
        """The rows of a listing that are selected, with all columns, in no promised order."""
        rows = scan(self.path, self.spec, chosen(files, wanted))
        return rows if wanted.expression is None else rows.filter(wanted.expression)

    def instruments(self) -> set[tuple[str, str]]:
        """The exchanges and symbols that have rows."""
        parts = [self.staged(), self.listing()]
        return {pair for part in parts if part is not None for pair in part.select(PARTITION).unique().iter_rows()}

    def spans(self, wanted: Selection) -> list[tuple[int, int, int]]:
        """First time, last time and rows of each file that a selection may touch."""
        files = self.listing()
        if files is None:
            return []
        # Statistics hold milliseconds; what is cut a little off still lies in one of two neighbouring stretches.
        known = chosen(files, wanted).drop_nulls(["low", "high"])
        return known.select(pl.col("low", "high").cast(pl.Int64), "rows").rows()

    def staged(self) -> pl.DataFrame:
        """The rows that are still on the stage, unique by key; to be asked for before the listing.

        Raises:
            StoreUnavailable: they cannot be read just now.
        """
        try:
            return self._stage.rows()
        except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
            raise delta_terms.mistake(self.path, error) from error

    def held(self, files: pl.DataFrame, batch: pl.DataFrame) -> pl.DataFrame:
        """Keys and ranks of the stored rows that a batch could collide with."""
        return self._held.find(files, batch)

    def maintain(self, target_bytes: int) -> None:
        """Join files below a size, make a checkpoint, and remove what nobody has needed for a day.

        Raises:
            DeltaError, OSError: it did not work out, which harms nobody.
        """
        handle = self._writing.newest()
        if handle is None:
            return
        crashpoints.soon_after("during-compaction")
        files = self._writing.files(self.spec)
        if target_bytes == SMALL and files.select(PARTITION).n_unique() >= self.many_symbols:
            self._join(handle, files.filter(pl.col("bytes") < SMALL // 2))
        else:
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
        self._stage.tidy(RETENTION_HOURS)

    def _join(self, handle: DeltaTable, files: pl.DataFrame) -> None:
        # delta-rs goes from one symbol to the next and opens each file for itself: minutes where there are thousands.
        several = files.filter(pl.len().over(PARTITION) > 1).sort(*PARTITION, "low")
        several = several.with_columns(portion=pl.col("rows").cum_sum() // JOINED_ROWS)
        version = handle.version()
        for portion in several.partition_by("portion", maintain_order=True):
            if handle.version() != version:
                # Somebody else has written meanwhile, perhaps other rows for those that were to be joined.
                return
            rows = tables.in_order(self.name, scan(self.path, self.spec, portion).collect())
            joined = [file.action for file in written(self.path, rows, is_new=False)]
            self._commit(handle, [*joined, *removing(portion)], None)
            version += 1
            handle.update_incremental()

    def _commit(self, handle: DeltaTable, actions: list[AddAction | RemoveAction], commit: Commit | None) -> None:
        handle.create_write_transaction(
            actions,
            "append",
            handle.schema(),
            list(PARTITION),
            commit_properties=_pinning(commit),
            post_commithook_properties=_QUIETLY,
        )

    def _pinned(self, work: Callable[[], T]) -> T:
        for attempt in range(TRIES):
            try:
                return work()
            except CommitFailedError:
                self._forget()
                self._pause.wait(min(1.0, 0.01 * 2**attempt) * random.random())
            except SchemaMismatchError as error:
                raise WriteRejected(f"The table {self.path} has other columns: {error}") from error
            except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
                self._forget()
                raise delta_terms.mistake(self.path, error) from error
        raise StoreUnavailable(f"Other writers were faster {TRIES} times in {self.path}; it will be tried again.")

    def _newest(self) -> DeltaTable:
        found = self._writing.newest()
        if found is not None:
            if not delta_terms.same_columns(self.spec, found.schema()):
                raise WriteRejected(f"The table {self.path} on the disk has other columns than {self.name}.")
            return found
        # Empty first: a first write that fails would leave a folder that no reader understands.
        self.path.mkdir(parents=True, exist_ok=True)
        schema = delta_terms.schema(self.spec)
        DeltaTable.create(
            self.path, schema, mode="ignore", partition_by=list(PARTITION), configuration=delta_terms.SETTINGS
        )
        return self._newest()

    def _forget(self) -> None:
        self._writing.forget()
        self._stage.forget()

    def _upsert(self, batch: pl.DataFrame, commit: Commit | None) -> int:
        staged = self._stage.look()
        handle = self._newest()
        if commit is not None and commit.segment <= max(_last(handle, commit), _last(staged.handle, commit)):
            return 0
        files = self._writing.files(self.spec)
        held = self._held.find(files, batch)
        if staged.files:
            near = staged.near(self.spec, batch)
            held = held if near.is_empty() else tables.unique(self.name, pl.concat([held, near.select(held.columns)]))
        found = changes(self.name, held, batch)
        if not found.rows:
            return 0
        rows = pl.concat([found.better, found.new])
        if is_thin(rows, self.many_symbols):
            self._stage.add(staged, rows, _pinning(commit))
        else:
            self._put(handle, found, commit)
        self._tidy_when_due(staged, files)
        return found.rows

    def _move(self) -> None:
        staged = self._stage.look()
        if staged.files:
            handle = self._newest()
            rows = staged.rows(self.spec)
            found = changes(self.name, self._held.find(self._writing.files(self.spec), rows), rows)
            if self._stage.look().version != staged.version:
                # Rows that somebody else has moved and deleted since would come back.
                raise CommitFailedError("The stage has changed meanwhile.")
            self._put(handle, found, None)
            self._stage.remove(staged, _pinning(None))

    def _put(self, handle: DeltaTable, found: Changes, commit: Commit | None) -> None:
        if not found.better.is_empty():
            self._merge(handle, pl.concat([found.better, found.new]), commit)
        elif not found.new.is_empty():
            self._append(handle, found.new, commit)

    def _append(self, handle: DeltaTable, rows: pl.DataFrame, commit: Commit | None) -> None:
        files = written(self.path, rows)
        self._commit(handle, [file.action for file in files], commit)
        for file in files:
            self._held.remember(file.action.path, file.rows)

    def _merge(self, handle: DeltaTable, rows: pl.DataFrame, commit: Commit | None) -> None:
        merging = handle.merge(
            rows,
            delta_terms.matching(self.spec, rows),
            source_alias="batch",
            target_alias="held",
            writer_properties=_PROPERTIES,
            commit_properties=_pinning(commit),
            post_commithook_properties=_QUIETLY,
        )
        merging.when_matched_update_all().when_not_matched_insert_all().execute()

    def _tidy_when_due(self, staged: Staged, files: pl.DataFrame) -> None:
        # By what there was before this commit: it is due one commit later, and a listing is saved.
        try:
            if staged.is_due:
                self._pinned(self._move)
            elif staged.is_scattered:
                self._stage.join(self._stage.look(), _pinning(None))
            if files.height < self.small_files // 2:
                return
            most = max(self.small_files, 5 * files.select(PARTITION).n_unique())
            is_small = files.get_column("bytes") < SMALL // 2
            is_middling = ~is_small & (files.get_column("bytes") < LARGE // 2)
            if _surplus(files.filter(is_middling)) >= most // 2:
                self.maintain(LARGE)
            elif _surplus(files.filter(is_small)) >= most:
                self.maintain(SMALL)
        except (DeltaError, OSError, pl.exceptions.PolarsError, StoreUnavailable) as error:
            # The rows are stored; tidying up is tried again after the next batch.
            self._forget()
            _log.info("Compaction of %s is put off: %s", self.path, error)


def _last(handle: DeltaTable | None, commit: Commit) -> int:
    last = None if handle is None else handle.transaction_version(commit.writer)
    return -1 if last is None else last


def _surplus(files: pl.DataFrame) -> int:
    return files.height - files.select(PARTITION).n_unique()


def _pinning(commit: Commit | None) -> CommitProperties:
    transactions = [Transaction(commit.writer, commit.segment)] if commit is not None else None
    return CommitProperties(max_commit_retries=0, app_transactions=transactions)
