"""A handle on a Delta table that is kept: stepping from commit to commit costs a fraction of opening the table anew."""

import time
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from marketlab import tables
from marketlab.stores.delta_scan import listing

__all__ = ["KeptHandle"]

FRESH_SECONDS = 600.0


class KeptHandle:
    """The newest version of the table at `path`. One thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table: DeltaTable | None = None
        self._files = -1, pl.DataFrame()
        self._folder: tuple[int, int] | None = None
        self._at = 0.0

    def newest(self) -> DeltaTable | None:
        """The table as it is now; None where there is none.

        Raises:
            DeltaError, OSError: it cannot be read just now.
        """
        now = time.time()
        try:
            # Asked for first, since deltalake says the same of what is not there and of what cannot be looked at.
            found = (self._path / "_delta_log").stat()
        except FileNotFoundError:
            self.forget()
            return None
        folder = (found.st_dev, found.st_ino)
        # Commits that are older than a checkpoint are cleaned away in the end: a handle that has slept for long must not
        # take the last step that it can find for the newest version.
        if self._table is None or folder != self._folder or abs(now - self._at) >= FRESH_SECONDS:
            self.forget()
            try:
                self._table = DeltaTable(self._path)
            except TableNotFoundError:
                return None
        elif self._next(self._table).exists():
            self._table.update_incremental()
        self._folder, self._at = folder, now
        return self._table

    def _next(self, table: DeltaTable) -> Path:
        return self._path / "_delta_log" / f"{table.version() + 1:020d}.json"

    def files(self, table: tables.TableSpec) -> pl.DataFrame:
        """The live files of what `newest` gave, see `delta_scan.listing`."""
        if self._table is None:
            raise ValueError("There is no table to list.")
        version, files = self._files
        if version != self._table.version():
            version, files = self._table.version(), listing(self._table, table)
            self._files = version, files
        return files

    def forget(self) -> None:
        """Open the table anew when it is asked for next."""
        self._table = None
        self._files = -1, pl.DataFrame()
