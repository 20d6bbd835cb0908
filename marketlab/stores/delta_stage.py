"""Rows of many symbols with few rows each: one file a commit, until there are enough of them to lie where they belong.

A table is partitioned by exchange and symbol, so 500 rows of 500 symbols would be 500 files. They wait here, in a Delta
table beside it that has no partitions, and are moved together.

1. A row goes into the table first and leaves the stage then; who looks takes the stage first, then the table. So a row
   may be seen in both, never in none, and which of the two counts is decided by the rule of `marketlab.tables`.
2. A commit to the stage is pinned like one to the table (see HistoryTable, 1): it is on top of the rows that were judged.
3. They are moved when there are many, or have waited for long and anything is written to the store, or when a store that
   has written is closed; whose rows they are is all the same.
4. Files never change, so what was read of them once is kept as long as they are part of the stage.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from uuid import uuid4

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.transaction import AddAction, RemoveAction

from marketlab import tables
from marketlab.stores import delta_terms
from marketlab.stores.delta_handle import KeptHandle

__all__ = ["Stage", "Staged", "is_thin"]

MOST_FILES, MOST_ROWS, MOST_SECONDS = 16, 50_000, 600.0
THIN_ROWS = 200
_QUIETLY = PostCommitHookProperties(cleanup_expired_logs=False)


def is_thin(rows: pl.DataFrame, many: int) -> bool:
    """Whether rows are of `many` symbols or more and hardly any of each."""
    symbols = rows.get_column("symbol").n_unique()
    return symbols >= many and rows.height < THIN_ROWS * symbols


class Staged(NamedTuple):
    """What waits in one version of the stage: the rows of each file, the first first, and since when (seconds)."""

    handle: DeltaTable | None
    version: int
    files: dict[str, pl.DataFrame]
    since: float

    @property
    def is_due(self) -> bool:
        """Whether there is enough to move, or it has waited long enough."""
        many = sum(rows.height for rows in self.files.values()) >= MOST_ROWS
        return bool(self.files) and (many or time.time() - self.since >= MOST_SECONDS)

    @property
    def is_scattered(self) -> bool:
        """Whether so many files are better one."""
        return len(self.files) >= MOST_FILES

    def rows(self, table: tables.TableSpec) -> pl.DataFrame:
        """All that waits, unique by key."""
        return tables.unique(table.name, self._all(table))

    def near(self, table: tables.TableSpec, batch: pl.DataFrame) -> pl.DataFrame:
        """What a batch could collide with, unique by key."""
        by = delta_terms.ranged(table)
        slack = delta_terms.slack(table)
        low, high = batch.select((pl.col(by).min() - slack).alias("low"), (pl.col(by).max() + slack).alias("high")).row(
            0
        )
        found = self._all(table).filter(pl.col(by).is_between(low, high))
        # Nearly always nothing: what has been stored is older.
        if found.is_empty():
            return found
        return tables.unique(table.name, found.join(batch, on=table.key, how="semi", maintain_order="left"))

    def _all(self, table: tables.TableSpec) -> pl.DataFrame:
        return pl.concat(self.files.values()) if self.files else tables.empty(table.name)


class Stage:
    """The rows that wait below `path` for the table of that name. Writing: one thread at a time."""

    def __init__(self, path: Path, table: tables.TableSpec) -> None:
        self.path = path
        self._table = table
        self._writing = KeptHandle(path)
        self._reading = KeptHandle(path)
        self._lock = Lock()
        self._known: dict[str, pl.DataFrame] = {}

    def rows(self) -> pl.DataFrame:
        """What waits just now.

        Raises:
            DeltaError, OSError, polars.exceptions.PolarsError: it cannot be read just now.
        """
        with self._lock:
            return self._look(self._reading.newest()).rows(self._table)

    def look(self) -> Staged:
        """What waits just now, to judge a batch by and to commit on top of. Raises like `rows`."""
        return self._look(self._writing.newest())

    def forget(self) -> None:
        """Open the stage anew when it is looked at next."""
        self._writing.forget()

    def add(self, seen: Staged, rows: pl.DataFrame, pinning: CommitProperties) -> None:
        """Let rows wait, on top of what was seen. Raises like `rows`; CommitFailedError: somebody else was faster."""
        self._replace(seen.handle or self._created(), [], rows, int(time.time() * 1000), pinning)

    def join(self, seen: Staged, pinning: CommitProperties) -> None:
        """Make one file of what was seen. Raises like `add`."""
        if seen.handle is not None:
            self._replace(seen.handle, list(seen.files), seen.rows(self._table), int(seen.since * 1000), pinning)

    def remove(self, seen: Staged, pinning: CommitProperties) -> None:
        """Let go of what was seen and is in the table now. Raises like `add`."""
        if seen.handle is not None and seen.files:
            self._commit(seen.handle, _removing(seen.files), pinning)

    def tidy(self, hours: int) -> None:
        """Remove files and log entries that nobody has needed for so long. Raises like `rows`."""
        handle = self._writing.newest()
        if handle is not None:
            handle.cleanup_metadata()
            handle.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)

    def _replace(
        self, handle: DeltaTable, old: list[str], rows: pl.DataFrame, since_ms: int, pinning: CommitProperties
    ) -> None:
        # Named in the order of commits: of two rows with one key, the first is known by its file.
        name = f"{handle.version() + 1:020d}-{uuid4()}.parquet"
        rows.write_parquet(self.path / name, compression="lz4")
        size = (self.path / name).stat().st_size
        adding = AddAction(name, size, {}, since_ms, True, f'{{"numRecords":{rows.height}}}')
        self._commit(handle, [*_removing(old), adding], pinning)
        self._known = {**self._known, name: rows}

    def _commit(self, handle: DeltaTable, actions: list[AddAction | RemoveAction], pinning: CommitProperties) -> None:
        handle.create_write_transaction(
            actions, "append", handle.schema(), commit_properties=pinning, post_commithook_properties=_QUIETLY
        )

    def _created(self) -> DeltaTable:
        self.path.mkdir(parents=True, exist_ok=True)
        schema = delta_terms.schema(self._table)
        return DeltaTable.create(self.path, schema, mode="ignore", configuration=delta_terms.SETTINGS)

    def _look(self, handle: DeltaTable | None) -> Staged:
        found = [] if handle is None else pl.DataFrame(handle.get_add_actions(flatten=True)).to_dicts()
        names = sorted(str(action["path"]) for action in found)
        known = {**self._known, **self._read([name for name in names if name not in self._known])}
        self._known = {name: known[name] for name in names}
        since = min((action["modification_time"] for action in found), default=0) / 1000
        return Staged(handle, -1 if handle is None else handle.version(), self._known, since)

    def _read(self, names: list[str]) -> dict[str, pl.DataFrame]:
        places = [self.path / name for name in names]
        scans = [
            pl.scan_parquet(place, schema=dict(self._table.schema), glob=False, hive_partitioning=False)
            for place in places
        ]
        return dict(zip(names, pl.collect_all(scans), strict=True)) if scans else {}


def _removing(names: Iterable[str]) -> list[AddAction | RemoveAction]:
    now = int(time.time() * 1000)
    return [RemoveAction(name, True, now) for name in names]
