"""A store in a schema of a PostgreSQL database.

1. A write is one transaction: the batch's name, the markets, the rows. Any error takes all of it back.
2. Rows go by COPY into a temporary table and from there, in the order of their keys, into the table; two writers of the
   same rows meet in the same order, so the second waits for the first and then finds them.
3. A read is one COPY out of one snapshot: it waits for no writer, and no writer for it.
4. What another writer or a restarted server was in the way of is tried again at once, three times in all.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar
from uuid import uuid4

import msgspec
import polars as pl
import psycopg
from polars.io.plugins import register_io_source
from psycopg import sql

from marketlab import tables
from marketlab.errors import StoreError, WriteRejected
from marketlab.stores.accepting import accepted
from marketlab.stores.asking import Asking
from marketlab.stores.contract import Batching, Commit, Coverage
from marketlab.stores.postgresql import layout as layouts
from marketlab.stores.postgresql.address import Address
from marketlab.stores.postgresql.answers import answer
from marketlab.stores.postgresql.connections import Connections
from marketlab.stores.postgresql.layout import Layout
from marketlab.stores.postgresql.markets import EMPTY, known, numbered
from marketlab.stores.postgresql.mistakes import answering, has_passed, mistake, misunderstood
from marketlab.stores.postgresql.reading import condition, streamed
from marketlab.stores.postgresql.texts import to_csv
from marketlab.stores.pushing import bounded, instruments
from marketlab.stores.selection import Selection, micros, pieces

__all__ = ["PostgresStore"]

_log = logging.getLogger(__name__)
_TRIES = 3
Answer = TypeVar("Answer")


class PostgresStore(Asking):
    """Tables in a schema. Safe to use from several threads; other processes may read and write too."""

    scheme: ClassVar[str] = "postgresql"
    overwrites: ClassVar[bool] = False
    batching: Batching = Batching(rows=5_000, seconds=2.0, bytes=16_000_000, most=50_000)

    def __init__(self, address: Address, *, temporary: bool = False) -> None:
        self.url = address.url
        self.spool: Path | None = None
        self._address = address
        self._schema = address.schema
        self._temporary = temporary
        self._connections = Connections(address)
        self._layouts: dict[str, Layout] = {}

    @property
    def exists(self) -> bool:
        """Whether anything was ever stored in this schema. See `marketlab.stores.contract.Store.exists`."""
        return self._run(self._exists)

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        """Store a table; returns how many rows are new or better. See `marketlab.stores.contract.Store.write`."""
        batch = accepted(name, table)
        _require_storable(name, table)
        if batch.is_empty():
            return 0
        return self._run(lambda connection: self._put(connection, name, batch, commit))

    def scan(self, name: str) -> pl.LazyFrame:
        """The whole table, lazily; filters on exchange, symbol and time are done by the server."""
        table = tables.spec(name)

        def source(
            wanted: list[str] | None, filtered: pl.Expr | None, limit: int | None, size: int | None
        ) -> Iterator[pl.DataFrame]:
            used = set(wanted or table.schema) | set(filtered.meta.root_names() if filtered is not None else ())
            names = [column for column in table.schema if column in used]
            left = limit
            for rows in self._scanned(bounded(filtered, Selection.of(name, include_open=True)), names, filtered):
                found = rows if filtered is None else rows.filter(filtered)
                found = found if left is None else found.head(left)
                yield found.select(wanted or names)
                left = None if left is None else left - found.height
                if left == 0:
                    return

        return register_io_source(source, schema=dict(table.schema))

    def coverage(self, name: str, *, symbol: str | None = None) -> list[Coverage]:
        """What is stored, by exchange, symbol and interval; open klines are not counted."""
        wanted = Selection.of(name, symbol=symbol)
        return self._run(lambda connection: self._covered(connection, wanted))

    def query(self, text: str) -> pl.DataFrame:
        """What one SQL statement gives, in a transaction that can only read; tables need no schema before their name.

        `numeric` comes as float64. See `marketlab.stores.contract.Store.query`.
        """
        # One of its own, since a question may leave it otherwise than it was: set_config, advisory locks.
        with closing(self._connections.connect()) as connection:
            try:
                return answer(connection, text, self.url)
            except psycopg.Error as error:
                raise misunderstood(self.url, error) from error

    def sandbox(self) -> "PostgresStore":
        """A store in a schema of its own. See `marketlab.stores.contract.Store.sandbox`."""
        return PostgresStore(self._address.beside(f"sandbox_{uuid4().hex}"), temporary=True)

    def close(self) -> None:
        """Close the connections; twice is once."""
        if self._temporary:
            self._temporary = False
            drop = sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(self._schema))
            try:
                self._run(lambda connection: connection.execute(drop))
            except StoreError as error:
                _log.warning("%s is left behind: %s", self.url, error)
        self._connections.close()

    def _find(self, wanted: Selection) -> pl.DataFrame:
        return self._run(lambda connection: self._found(connection, wanted))

    def _found(self, connection: psycopg.Connection, wanted: Selection) -> pl.DataFrame:
        layout, markets = self._asked(connection, wanted)
        parts = [tables.empty(wanted.table.name).select(wanted.needed)]
        if layout is not None:
            parts += streamed(connection, layout, wanted, wanted.needed, markets, of_all=_is_of_all(wanted))
        return wanted.finish(pl.concat(parts), is_unique=True)

    def _find_in_pieces(self, wanted: Selection, rows: int) -> Iterator[pl.DataFrame]:
        layout, markets = self._run(lambda connection: self._asked(connection, wanted))
        return pieces(self._in_order(wanted, layout, markets), rows) if layout is not None else iter(())

    def _in_order(self, wanted: Selection, layout: Layout, markets: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The answer as it comes, by whole moments: within one, the promised order is ours to make."""
        time = pl.col(wanted.table.time)
        kept = tables.empty(wanted.table.name).select(wanted.needed)
        with self._connected() as connection:
            of_all = _is_of_all(wanted)
            for rows in streamed(connection, layout, wanted, wanted.needed, markets, of_all=of_all, in_time=True):
                some = pl.concat([kept, rows])
                last = some.get_column(wanted.table.time)[-1]
                yield wanted.finish(some.filter(time != last), is_unique=True)
                kept = some.filter(time == last)
        yield wanted.finish(kept, is_unique=True)

    def _scanned(self, wanted: Selection, names: list[str], filtered: pl.Expr | None) -> Iterator[pl.DataFrame]:
        layout, markets = self._run(lambda connection: self._asked(connection, wanted))
        left = instruments(filtered, markets)
        yield tables.empty(wanted.table.name).select(names)
        if layout is not None and not left.is_empty():
            with self._connected() as connection:
                of_all = left.height == markets.height
                yield from streamed(connection, layout, wanted, names, left, of_all=of_all)

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        """A connection of its own, for answers of which nobody knows how long they are read."""
        with answering(self.url), closing(self._connections.connect()) as connection:
            yield connection

    def _remove(self, going: Selection) -> int:
        return self._run(lambda connection: self._removed(connection, going))

    def _removed(self, connection: psycopg.Connection, going: Selection) -> int:
        layout = self._layout(connection, going.table.name)
        if layout is None:
            return 0
        markets = None if _is_of_all(going) else _chosen(known(connection, layout.markets), going)
        # An open kline goes like any other.
        rows = condition(msgspec.structs.replace(going, include_open=True), markets)
        return connection.execute(sql.SQL("delete from {} where {}").format(layout.place, rows)).rowcount

    def _covered(self, connection: psycopg.Connection, wanted: Selection) -> list[Coverage]:
        table, layout = wanted.table, self._layout(connection, wanted.table.name)
        if layout is None:
            return []
        markets = known(connection, layout.markets)
        of = [sql.Identifier("interval") if "interval" in table.schema else sql.SQL("null::text")]
        found = connection.execute(
            sql.SQL("select market_id, {0}, count(*), min({1}), max({1}) from {2} where {3} group by 1, 2").format(
                *of,
                sql.Identifier(table.time),
                layout.place,
                condition(wanted, None if _is_of_all(wanted) else _chosen(markets, wanted)),
            )
        )
        names = {number: (exchange, symbol) for number, exchange, symbol in markets.iter_rows()}
        rows = [
            Coverage(*names[market], interval, count, micros(first) or 0, micros(last) or 0)
            for market, interval, count, first, last in found
            if market in names
        ]
        return sorted(rows, key=lambda row: (row.exchange, row.symbol, row.interval or ""))

    def _put(self, connection: psycopg.Connection, name: str, batch: pl.DataFrame, commit: Commit | None) -> int:
        layout = self._layout(connection, name)
        if layout is None:
            layouts.make(connection, self._schema, name)
            return self._put(connection, name, batch, commit)
        if commit is not None and not self._is_new(connection, layout, commit):
            return 0
        rows = numbered(connection, layout.markets, batch).sort(layout.key)
        if layout.is_timed:
            connection.execute(layout.locking())
        connection.execute(layout.staging())
        with connection.cursor() as cursor:
            with cursor.copy(layout.copying_in()) as copy:
                copy.write(to_csv(layout.table, rows))
            return cursor.execute(layout.storing()).rowcount

    def _is_new(self, connection: psycopg.Connection, layout: Layout, commit: Commit) -> bool:
        statement = sql.SQL(
            'insert into {} as held (writer, "table", segment) values ({}, {}, {}) on conflict (writer, "table") '
            "do update set segment = excluded.segment where held.segment < excluded.segment"
        )
        named = map(sql.Literal, (commit.writer, layout.table.name, commit.segment))
        return connection.execute(statement.format(layout.commits, *named)).rowcount > 0

    def _asked(self, connection: psycopg.Connection, wanted: Selection) -> tuple[Layout | None, pl.DataFrame]:
        """The table that a question is about, if it is there, and the markets."""
        layout = self._layout(connection, wanted.table.name)
        if layout is None and not self._exists(connection):
            return None, EMPTY
        markets = known(connection, sql.Identifier(self._schema, "markets"))
        wanted.require_known(markets.select("exchange", "symbol").iter_rows(), self.url)
        return layout, _chosen(markets, wanted)

    def _exists(self, connection: psycopg.Connection) -> bool:
        place = "select from pg_tables where schemaname = %s and tablename = 'markets'"
        return connection.execute(place, (self._schema,)).fetchone() is not None

    def _layout(self, connection: psycopg.Connection, name: str) -> Layout | None:
        if name not in self._layouts:
            found = layouts.found(connection, self._schema, name, self.url)
            if found is None:
                return None
            self._layouts[name] = found
        return self._layouts[name]

    def _run(self, work: Callable[[psycopg.Connection], Answer]) -> Answer:
        """Work in one transaction, as often as is worth it."""
        tries = 0
        while True:
            tries += 1
            with self._connections.lent() as connection:
                try:
                    with connection.transaction():
                        return work(connection)
                except psycopg.Error as error:
                    # Somebody may have removed tables that were there, or what made them may have been taken back.
                    self._layouts.clear()
                    if tries == _TRIES or not has_passed(error, connection):
                        raise mistake(self.url, error) from error


def _is_of_all(wanted: Selection) -> bool:
    return wanted.exchange is None and wanted.symbol is None


def _chosen(markets: pl.DataFrame, wanted: Selection) -> pl.DataFrame:
    named = {"exchange": wanted.exchange, "symbol": wanted.symbol}
    return markets.filter(*(pl.col(column) == value for column, value in named.items() if value is not None))


def _require_storable(name: str, table: pl.DataFrame) -> None:
    texts = [column for column, kind in tables.spec(name).schema.items() if kind == pl.String()]
    holding = pl.any_horizontal(pl.col(column).str.contains("\0", literal=True).fill_null(False) for column in texts)
    rows = table.select(holding.arg_true()).to_series().to_list()
    if rows:
        raise WriteRejected(f"{len(rows)} rows of {name} hold a zero byte, which PostgreSQL does not take.", rows=rows)
