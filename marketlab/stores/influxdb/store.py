"""`influxdb://`: a store on an InfluxDB server of version 1, 2 or 3.

InfluxDB overwrites a point of the same series and time. Klines, gaps and tickers are therefore looked up before they are
written, so that the better row stays; everything else is written as it comes, and of two rows with one key and time the
last one stays. One key at two times is two points; the first is given when they are read.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Literal, overload

import msgspec
import polars as pl
from polars.io.plugins import register_io_source

from marketlab import tables
from marketlab.errors import StoreUnavailable, WriteRejected
from marketlab.stores.accepting import accepted
from marketlab.stores.asking import Asking
from marketlab.stores.contract import Batching, Commit, Coverage
from marketlab.stores.influxdb import layout
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.dialect import Dialect, Limits, OtherKindError
from marketlab.stores.influxdb.doubles import Seen, whole_moments
from marketlab.stores.influxdb.languages import language_of, require_reading
from marketlab.stores.influxdb.lines import lines, unwritable
from marketlab.stores.pushing import narrowed
from marketlab.stores.selection import Selection, cover, pieces
from marketlab.stores.upsert import RANKS, changes

__all__ = ["InfluxStore"]

_SYMBOLS = 200
"""How many are named in one question."""


class InfluxStore(Asking):
    """One database, and in it the measurements with the address's prefix. Safe to use from several threads.

    Args:
        address: where it is.
        connect: gives the dialect of the server that is there; called once, at the first question.
        is_sandbox: whether closing removes what was written.
    """

    scheme: ClassVar[str] = "influxdb"
    overwrites: ClassVar[bool] = True
    batching: Batching = Batching(rows=500, seconds=10.0, bytes=4_000_000, most=5_000)

    def __init__(self, address: Address, connect: Callable[[Address], Dialect], *, is_sandbox: bool = False) -> None:
        self.url = address.url
        self.spool: Path | None = None
        self._address = address
        self._connect = connect
        self._is_sandbox = is_sandbox
        self._lock = Lock()
        self._dialect: Dialect | None = None
        self._is_made = not address.create
        self._closed = False

    @property
    def exists(self) -> bool:
        """Whether the database is there: see `marketlab.stores.contract.Store.exists`."""
        return self._found().exists()

    @property
    def version(self) -> int:
        """The major version that the server speaks."""
        return self._found().version

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        """Store a table; returns how many rows are written. See `marketlab.stores.contract.Store.write`.

        Of klines, gaps and tickers only what is new or better is written.
        """
        batch = accepted(name, table)
        far = layout.beyond(name, batch)
        if far:
            raise WriteRejected(
                f"{len(far)} rows of {name} have a time before 1677 or after 2262, which InfluxDB cannot hold.",
                rows=_places(name, table, batch[far]),
            )
        dialect = self._ready()
        if name in RANKS and batch.height:
            try:
                found = changes(name, self._held(dialect, name, batch), batch)
            except OtherKindError as error:
                # Another program's points stand where some of these rows belong; no later attempt would find them gone.
                raise WriteRejected(str(error)) from None
            batch = pl.concat([found.new, found.better])
        if batch.is_empty():
            return 0
        points = layout.points(name, batch)
        tags = [tag for tag in (*layout.tags(name), layout.ID) if tag in points.columns]
        wrong = unwritable(tags, points)
        if wrong:
            raise WriteRejected(
                f"{len(wrong)} rows of {name} have a tag with a line break or a backslash at its end, which line protocol "
                "cannot hold.",
                rows=_places(name, table, batch[wrong]),
            )
        text = lines(layout.measurement(name, self._address.prefix), tags, points)
        try:
            _send(dialect, text)
        except WriteRejected as error:
            raise WriteRejected(str(error), rows=_places(name, table, batch[list(error.rows)])) from None
        return batch.height

    def scan(self, name: str) -> pl.LazyFrame:
        """The whole table, lazily; the server filters by exchange, symbol and time, and gives the needed columns alone."""
        schema = dict(tables.spec(name).schema)

        def read(
            columns: list[str] | None, predicate: pl.Expr | None, most: int | None, size: int | None
        ) -> Iterator[pl.DataFrame]:
            used = {*(columns or schema), *(predicate.meta.root_names() if predicate is not None else ())}
            whole = Selection.of(name, columns=[column for column in schema if column in used], include_open=True)
            wanted = narrowed(predicate, whole)
            if wanted.start and wanted.end and wanted.start >= wanted.end:
                return
            for table in self._pieces(wanted, must_be_known=False):
                found = table if predicate is None else table.filter(predicate)
                part = found if most is None else found.head(most)
                most = None if most is None else most - part.height
                yield part.select(columns or list(schema))
                if most == 0:
                    return

        return register_io_source(read, schema=schema)

    def coverage(self, name: str, *, symbol: str | None = None) -> list[Coverage]:
        """What is stored, counted by key, so doubles count once. See `marketlab.stores.contract.Store.coverage`."""
        table = tables.spec(name)
        found: dict[tuple[str, str, str | None], Coverage] = {}
        for rows in self._pieces(Selection.of(name, symbol=symbol, columns=[*table.key, table.time])):
            # Open klines are left out already, and the column that would say so with them.
            for part in cover(name, rows.lazy().with_columns(closed=pl.lit(True))):
                place = (part.exchange, part.symbol, part.interval)
                old = found.get(place, part)
                count = part.rows + (old.rows if place in found else 0)
                found[place] = Coverage(*place, count, min(old.first, part.first), max(old.last, part.last))
        return [found[place] for place in sorted(found, key=lambda place: tuple(map(str, place)))]

    @overload
    def query(self, text: str, *, language: str | None = None, pandas: Literal[False] = False) -> pl.DataFrame: ...

    @overload
    def query(self, text: str, *, language: str | None = None, pandas: Literal[True]) -> Any: ...

    def query(self, text: str, *, language: str | None = None, pandas: bool = False) -> Any:
        """What the server answers to a question in its own language, times in nanoseconds of UTC.

        Args:
            text: InfluxQL (1.x, 2.x, 3.x), Flux (2.x) or SQL (3.x).
            language: "influxql", "flux" or "sql", where the text does not tell.
            pandas: whether a pandas table is wanted.

        Raises:
            UsageError: the server does not understand it, or does not speak that language.
            StoreUnavailable: the server does not answer, or its answer broke off.
            StoreDenied: who asks may not do this, or there is no such database.
        """
        dialect = self._ready()
        spoken = language_of(text, dialect.version, language)
        require_reading(text, spoken)
        found = dialect.query(text, spoken)
        return found.to_pandas() if pandas else found

    def client(self) -> Any:
        """The official client, connected to the same place as the same user, for what a store has no words for.

        On 2.x an `influxdb_client.InfluxDBClient` (tasks, buckets, dashboards), on 3.x an
        `influxdb_client_3.InfluxDBClient3`. Whoever asks for it closes it.

        Raises:
            Unsupported: 1.x, which the official clients no longer speak to.
            MissingDependency: the client is not installed.
        """
        return self._found().client()

    def sandbox(self) -> "InfluxStore":
        """The same database with measurements of its own. See `marketlab.stores.contract.Store.sandbox`."""
        return InfluxStore(self._address.sandbox(), self._connect, is_sandbox=True)

    def close(self) -> None:
        """Let go of the connections, and of a sandbox's measurements; twice is once."""
        with self._lock:
            dialect, self._dialect, self._closed = self._dialect, None, True
        if dialect is None:
            return
        try:
            if self._is_sandbox:
                for name in layout.MEASUREMENTS:
                    dialect.drop(layout.measurement(name, self._address.prefix))
        finally:
            dialect.close()

    def _found(self) -> Dialect:
        """The server's dialect; which one it is, is found out once."""
        with self._lock:
            if self._closed:
                raise StoreUnavailable(f"{self.url} is closed; open it again.")
            if self._dialect is None:
                self._dialect = self._connect(self._address)
                self.batching = msgspec.structs.replace(self.batching, most=self._dialect.limits.most)
            return self._dialect

    def _ready(self) -> Dialect:
        """The same, with the database made where that is wanted."""
        dialect = self._found()
        if not self._is_made:
            dialect.create()
            self._is_made = True
        return dialect

    def _held(self, dialect: Dialect, name: str, batch: pl.DataFrame) -> pl.DataFrame:
        """The key and rank of the stored rows that a batch may meet."""
        table = tables.spec(name)
        # Asked by interval, since the span of a day's kline holds a day of the minutes' too.
        by = [column for column in ("exchange", "interval") if column in table.schema]
        moment, symbol = pl.col(table.time), pl.col("symbol")
        groups = batch.group_by(by, maintain_order=True).agg(
            first=moment.min(), last=moment.max(), symbols=symbol.unique().sort()
        )
        whole = Selection(table, columns=(*table.key, *RANKS[name]), include_open=True)
        found = [tables.empty(name).select(whole.needed)]
        for group in groups.iter_rows(named=True):
            asked = msgspec.structs.replace(
                whole.within(group["first"], group["last"] + timedelta(microseconds=1)),
                exchange=group["exchange"],
                # No tag looks like an empty one.
                interval=group.get("interval") or None,
            )
            for start in range(0, len(group["symbols"]), _SYMBOLS):
                symbols = group["symbols"][start : start + _SYMBOLS]
                if len(symbols) == 1:
                    found += self._asked(dialect, msgspec.structs.replace(asked, symbol=symbols[0]))
                else:
                    found += self._asked(dialect, asked, symbols)
        return pl.concat(found)

    def _asked(self, dialect: Dialect, wanted: Selection, symbols: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        """The rows of a selection in the order of time, each key once."""
        name, needed = wanted.table.name, wanted.needed
        seen = Seen(wanted.table)
        for found in whole_moments(dialect.rows(wanted, layout.stored(name, needed), symbols)):
            # Points of other programs under the same name are none of our rows: ours were all received.
            points = found.filter(pl.col("received").is_not_null())
            try:
                restored = layout.restored(name, points, needed)
            except pl.exceptions.PolarsError as error:
                raise self._other_kind(str(error).splitlines()[0]) from None
            # Where a field is of one type here and of another there, the server gives one of them and leaves out the other.
            lacking = [
                column for column in needed if column not in wanted.table.nullable and restored[column].null_count()
            ]
            if lacking:
                raise self._other_kind(f"{layout.measurement(name, self._address.prefix)} without {', '.join(lacking)}")
            rows = seen.new(restored)
            if rows.height:
                yield rows

    def _other_kind(self, what: str) -> OtherKindError:
        return OtherKindError(
            f"{self.url} holds points of another kind under the names of ours ({what}); use another database or prefix."
        )

    def _pieces(self, wanted: Selection, *, must_be_known: bool = True) -> Iterator[pl.DataFrame]:
        dialect = self._ready()
        empty = True
        for rows in self._asked(dialect, wanted):
            empty = False
            finished = wanted.finish(rows, is_unique=True)
            if finished.height:
                yield finished
        if empty and must_be_known and (wanted.symbol or wanted.exchange):
            wanted.require_known(dialect.instruments(), self.url)

    def _find(self, wanted: Selection) -> pl.DataFrame:
        none = tables.empty(wanted.table.name)
        return pl.concat([none.select(wanted.columns) if wanted.columns else none, *self._pieces(wanted)])

    def _find_in_pieces(self, wanted: Selection, rows: int) -> Iterator[pl.DataFrame]:
        return pieces(self._pieces(wanted), rows)

    def _remove(self, going: Selection) -> int:
        dialect = self._ready()
        key = Selection(going.table, going.exchange, going.symbol, None, going.start, going.end, going.table.key, True)
        count = sum(rows.height for rows in self._asked(dialect, key))
        if not count:
            return 0
        if going.expression is None:
            dialect.drop(layout.measurement(going.table.name, self._address.prefix))
        else:
            dialect.delete(going)
        return count


def _places(name: str, table: pl.DataFrame, rows: pl.DataFrame) -> list[int]:
    """Where rows of a batch stand in the table as it was handed over; every row with their key."""
    key = list(tables.spec(name).key)
    found = table.select(key).with_row_index("\0place").join(rows.select(key), on=key, how="semi", nulls_equal=True)
    return found.get_column("\0place").to_list()


def _send(dialect: Dialect, text: pl.Series) -> None:
    """Write lines in requests of the right size, several at once: points do not depend on one another."""
    bodies = list(_bodies(text, dialect.limits))
    if len(bodies) == 1:
        dialect.write(bodies[0])
        return
    with ThreadPoolExecutor(dialect.limits.parallel) as pool:
        answers: list[Future[None]] = [pool.submit(dialect.write, body) for body in bodies]
    errors = [error for answer in answers if (error := answer.exception()) is not None]
    # What may go through later counts before what never will: the batch comes again as it is.
    for error in sorted(errors, key=lambda error: not isinstance(error, StoreUnavailable)):
        if isinstance(error, WriteRejected):
            # Parts of the table are stored already.
            raise WriteRejected(str(error))
        raise error


def _bodies(text: pl.Series, limits: Limits) -> Iterator[bytes]:
    """The lines in order, as many at a time as a request may hold; a line that is too long goes alone."""
    ends = (text.str.len_bytes().cast(pl.Int64) + 1).cum_sum()
    start = filled = 0
    while start < text.len():
        fitting = int(ends.search_sorted(filled + limits.bytes, side="right"))
        stop = min(max(fitting, start + 1), start + limits.lines)
        yield str(text.slice(start, stop - start).str.join("\n").item()).encode()
        start, filled = stop, int(ends[stop - 1])
