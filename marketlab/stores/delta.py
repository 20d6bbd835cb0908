"""`delta://`: history in a folder, as Delta Lake tables beside one another.

A read sees the tables, what waits beside them in a stage (see `delta_stage`), and what a collector's spool still holds.
It takes the spool first, then the stage, then the table, so nothing that was once seen can be missed while it moves on.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

import polars as pl

from marketlab import tables
from marketlab.errors import MissingDependency, StoreError, StoreUnavailable, UsageError
from marketlab.stores.accepting import accepted
from marketlab.stores.asking import Asking
from marketlab.stores.contract import Batching, Commit, Coverage
from marketlab.stores.selection import Selection, cover, instant, micros, pieces
from marketlab.stores.spool import read_segment, segments
from marketlab.stores.stretches import cuts
from marketlab.stores.upsert import changes

try:
    from marketlab.stores.delta_table import HistoryTable
    from marketlab.stores.delta_terms import mistake
except ModuleNotFoundError as error:
    raise MissingDependency("deltalake", "history", "A delta:// store") from error

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["SCHEMES", "DeltaStore", "from_url"]

SCHEMES = ("delta",)
# What deltalake turns into another path, or breaks on.
_UNFIT = re.compile(r"[\x00-\x1f\x7f\[\]^|\\]|%[0-9A-Fa-f]{2}")
_log = logging.getLogger(__name__)
_STRETCH = 200_000  # rows that `batches` reads at a time, at least


def from_url(url: str, settings: "Settings | None" = None) -> "DeltaStore":
    """`delta://name` is relative to the working directory, `delta:///path` absolute.

    Raises:
        UsageError: the URL names no folder, or one in which no Delta table can lie.
    """
    place = url.partition("://")[2]
    if not place:
        raise UsageError("delta:// names no folder; write it like delta://marketdata or delta:///data/market.")
    return DeltaStore(Path(place).expanduser())


@contextmanager
def _reading(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.ComputeError, pl.exceptions.PanicException) as error:
        raise mistake(place, error, "read") from error


def _require_fit(folder: Path) -> None:
    found = _UNFIT.search(str(folder)) or _UNFIT.search(os.path.realpath(folder))
    if found:
        raise UsageError(
            f"No Delta table can lie in {str(folder)!r}, which holds {found[0]!r}: choose a path without brackets [ ], "
            "backslash, ^, |, line breaks and the like, or % before two hexadecimal digits."
        )
    blocking = _in_the_way(folder)
    if blocking is not None:
        raise UsageError(f"{blocking} is a file: name the folder of a store, or one that is to become it.")


def _in_the_way(folder: Path) -> Path | None:
    try:
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
        return None if nearest.is_dir() else nearest
    except OSError:
        # It may not be looked at; whoever reads or writes is told.
        return None


class DeltaStore(Asking):
    """Delta tables below one folder. Safe to use from several threads; other processes may read and write too.

    Raises:
        UsageError: no Delta table can lie in that folder, for its name or because a file is there.
    """

    scheme: ClassVar[str] = "delta"
    overwrites: ClassVar[bool] = False
    batching: Batching = Batching(rows=50_000, seconds=10.0, bytes=64_000_000)

    def __init__(self, folder: Path, *, small_files: int = 20, many_symbols: int = 8, temporary: bool = False) -> None:
        self._temporary = temporary
        self.folder = folder.absolute()
        self._made_with_it = [place for place in self.folder.parents if temporary and not place.exists()]
        _require_fit(self.folder)
        self.url = f"delta://{self.folder}"
        self.spool: Path | None = self.folder / "_spool"
        self._tables = {
            name: HistoryTable(self.folder / name, name, small_files, many_symbols) for name in tables.TABLES
        }
        self._lock = Lock()
        self._has_written = False
        self._closed = False

    @property
    def exists(self) -> bool:
        """Whether anything was ever stored here. See `marketlab.stores.contract.Store.exists`."""
        places = [self.folder / name / "_delta_log" for name in tables.TABLES]
        with _reading(self.url):
            return any(place.is_dir() for place in (*places, self.folder / "_spool"))

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        """Store a table; returns how many rows are new or better. See `marketlab.stores.contract.Store.write`."""
        found = self._table(name)
        batch = accepted(name, table)
        if batch.is_empty():
            return 0
        with self._lock:
            self._has_written = True
            changed = found.write(batch, commit)
            # Of all tables: of a quiet one, or of a writer that was killed, nobody else would think.
            self._settle(HistoryTable.settle_when_due)
        return changed

    def scan(self, name: str) -> pl.LazyFrame:
        """The whole table, lazily. See `marketlab.stores.contract.Store.scan`."""
        return self._rows(Selection.of(name, include_open=True))

    def coverage(self, name: str, *, symbol: str | None = None) -> list[Coverage]:
        """What is stored, by exchange, symbol and interval; open klines are not counted."""
        with _reading(self.url):
            return cover(name, self._rows(Selection.of(name, symbol=symbol)))

    def sandbox(self) -> "DeltaStore":
        """A store in a folder of its own beside the tables. See `marketlab.stores.contract.Store.sandbox`."""
        return DeltaStore(self.folder / f"_sandbox-{uuid4().hex}", temporary=True)

    def close(self) -> None:
        """Let go of the tables; twice is once. Who has written moves what waits on any stage to where it belongs."""
        if self._closed:
            return
        self._closed = True
        if self._temporary:
            rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                # As far as nobody else has put something there.
                for place in self._made_with_it:
                    place.rmdir()
            return
        with self._lock:
            if self._has_written:
                self._settle(HistoryTable.settle)

    def _settle(self, way: Callable[[HistoryTable], None]) -> None:
        for table in self._tables.values():
            try:
                way(table)
            except StoreError as error:
                # They are stored and seen where they are; the next who writes moves them.
                _log.info("Rows stay on the stage of %s: %s", table.path, error)

    def _find(self, wanted: Selection) -> pl.DataFrame:
        found = self._read(wanted)
        if found.is_empty():
            self._require_known(wanted)
        return found

    def _find_in_pieces(self, wanted: Selection, rows: int) -> Iterator[pl.DataFrame]:
        # Each stretch of time is read when its turn comes, so a long pause in between breaks nothing.
        self._require_known(wanted)
        return pieces(map(self._read, self._stretches(wanted, max(rows, _STRETCH))), rows)

    def _remove(self, going: Selection) -> int:
        table = self._table(going.table.name)
        with self._lock:
            return table.delete(going)

    def _table(self, name: str) -> HistoryTable:
        tables.spec(name)
        if self._closed:
            raise StoreUnavailable(f"{self.url} is closed; open it again.")
        return self._tables[name]

    def _read(self, wanted: Selection) -> pl.DataFrame:
        with _reading(self.url):
            return wanted.finish(self._rows(wanted).select(wanted.needed).collect(), is_unique=True)

    def _rows(self, wanted: Selection) -> pl.LazyFrame:
        """The table as it will be when everything in the spool has arrived, and of that what is wanted."""
        name = wanted.table.name
        table = self._table(name)
        arriving = self._arriving(wanted, table)
        files = table.listing()
        if files is None:
            parts = [arriving.lazy()]
        elif arriving.is_empty():
            parts = [table.scan(files, wanted)]
        else:
            coming = changes(name, table.held(files, arriving), arriving)
            stored = table.scan(files, wanted)
            if not coming.better.is_empty():
                key = list(wanted.table.key)
                stored = stored.join(coming.better.lazy().select(key), on=key, how="anti")
            parts = [stored, coming.better.lazy(), coming.new.lazy()]
        going = wanted.expression
        return pl.concat(parts if going is None else [part.filter(going) for part in parts])

    def _arriving(self, wanted: Selection, table: HistoryTable) -> pl.DataFrame:
        """What the spool and the stage hold, in this order of looking: rows go from one to the next."""
        spooled = self._spooled(wanted)
        staged = table.staged()
        for column, value in (("exchange", wanted.exchange), ("symbol", wanted.symbol)):
            if value is not None:
                staged = staged.filter(pl.col(column) == value)
        if staged.is_empty() or spooled.is_empty():
            return spooled if staged.is_empty() else staged
        return tables.unique(wanted.table.name, pl.concat([staged, spooled]))

    def _spooled(self, wanted: Selection) -> pl.DataFrame:
        # Not cut to the wanted time: a row may be in the table under another one (see HistoryTable, 3).
        kind = wanted.table.record
        records = [
            record
            for record in self._spooled_records()
            if type(record) is kind
            and (wanted.symbol is None or record.symbol == wanted.symbol)
            and (wanted.exchange is None or record.exchange == wanted.exchange)
        ]
        if not records:
            return tables.empty(wanted.table.name)
        return tables.unique(wanted.table.name, tables.to_table(wanted.table.name, records))

    def _spooled_records(self) -> Iterator[Any]:
        for path in segments(self.folder / "_spool"):
            try:
                yield from read_segment(path).records
            except FileNotFoundError:
                # The store acknowledged it in the meantime: the table, which is looked at later, has it.
                continue

    def _require_known(self, wanted: Selection) -> None:
        self._table(wanted.table.name)
        if wanted.symbol is None and wanted.exchange is None:
            return
        known = {(record.exchange, record.symbol) for record in self._spooled_records()}
        for table in self._tables.values():
            known |= table.instruments()
        wanted.require_known(known, self.url)

    def _stretches(self, wanted: Selection, rows: int) -> Iterator[Selection]:
        """The selection cut into stretches of time of about `rows` rows each, oldest first."""
        spans = self._table(wanted.table.name).spans(wanted)
        start = wanted.start
        for cut in cuts(spans, rows, micros(wanted.start), micros(wanted.end)):
            end = instant(cut)
            yield wanted.within(start, end)
            start = end
        yield wanted.within(start, wanted.end)
