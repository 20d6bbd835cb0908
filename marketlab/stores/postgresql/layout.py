"""How our tables lie in PostgreSQL.

1. A table has its own name and columns; `market_id` stands for exchange and symbol, which `markets` holds once. Times
   are `timestamptz`, ids that are text sort by their bytes, a side of a book is `double precision[][]` of [price, size].
2. Its primary key is its key, so PostgreSQL itself keeps every fact once, whoever writes.
3. In a hypertable (TimescaleDB) a unique index has to contain the time. Keys of klines, tickers and gaps do. Where a key
   has none (trades, quotes, books), the primary key is the key and the time, which would take one fact at two times for
   two, as a quote's time is when it was received. There a write holds a lock of its own while it looks for the keys in
   all chunks, and leaves out what is there. What others insert beside this store may be there twice.
4. What a table looks like is seen from the catalogue, so one partitioned in another way is used by the same rules.
"""

from collections.abc import Iterable
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from marketlab import tables
from marketlab.errors import StoreDenied
from marketlab.stores.upsert import RANKS

__all__ = ["Layout", "columns", "found", "make"]

_TYPES: dict[Any, str] = {
    pl.String(): "text",
    pl.Int64(): "bigint",
    pl.Float64(): "double precision",
    pl.Boolean(): "boolean",
    tables.TIME: "timestamp with time zone",
    tables.LEVELS: "double precision[]",
}
_OWN = {
    "markets": """create table {schema}.markets (
        id integer generated always as identity primary key,
        exchange text collate "C" not null, symbol text collate "C" not null, unique (exchange, symbol))""",
    "commits": """create table {schema}.commits (
        writer text collate "C" not null, "table" text collate "C" not null, segment bigint not null,
        primary key (writer, "table"))""",
}
_CHUNK = "7 days"

_LOOK = """
    select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), coalesce(a.attnum = any(i.indkey), false)
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_index i on i.indrelid = c.oid and i.indisprimary
    where n.nspname = %s and c.relname = any(%s) and c.relkind in ('r', 'p')
    order by a.attnum"""


def columns(table: tables.TableSpec) -> dict[str, str]:
    """A table's columns and their types in PostgreSQL."""
    own = {name: _TYPES[kind] for name, kind in table.schema.items() if name not in ("exchange", "symbol")}
    return {"market_id": "integer", **own}


def _key(table: tables.TableSpec) -> list[str]:
    return ["market_id", *(name for name in table.key if name not in ("exchange", "symbol"))]


class Layout:
    """A table in a schema. `is_timed`: unique only together with the time (rule 3)."""

    def __init__(self, schema: str, table: tables.TableSpec, *, is_timed: bool) -> None:
        self.table = table
        self.is_timed = is_timed
        self.place = sql.Identifier(schema, table.name)
        self.markets = sql.Identifier(schema, "markets")
        self.commits = sql.Identifier(schema, "commits")
        self._schema = schema

    @property
    def key(self) -> list[str]:
        """The columns that name a fact."""
        return _key(self.table)

    def locking(self) -> sql.Composed:
        """Waits for those who write to the same table, and keeps them out until the transaction ends."""
        return sql.SQL("select pg_advisory_xact_lock(hashtextextended({}, 0))").format(
            sql.Literal(f"marketlab {self._schema}.{self.table.name}")
        )

    def staging(self) -> sql.Composed:
        """A table for the rows to come, gone with the transaction."""
        return sql.SQL("create temporary table incoming (like {}) on commit drop").format(self.place)

    def copying_in(self) -> sql.Composed:
        """Takes the rows to come, as text."""
        return sql.SQL("copy pg_temp.incoming ({}) from stdin (format csv)").format(_names(columns(self.table)))

    def storing(self) -> sql.Composed:
        """Stores the rows that came, where they are new or better."""
        parts: list[sql.Composable] = [
            sql.SQL("insert into {} as held ({}) select {} from pg_temp.incoming i").format(
                self.place, _names(columns(self.table)), _names(columns(self.table), "i")
            )
        ]
        if self.is_timed:
            parts.append(self._unless_known())
        if self.table.name not in RANKS:
            parts.append(sql.SQL("on conflict do nothing"))
        else:
            parts.append(self._replacing())
        return sql.SQL(" ").join(parts)

    def _unless_known(self) -> sql.Composed:
        # `offset 0` keeps the inner question as it is: for each market a range of one index (of every chunk). A join
        # would be planned by what is known about a temporary table, which is nothing.
        return sql.SQL(
            "where not exists (select from (select market_id, min({id}) as low, max({id}) as high from pg_temp.incoming "
            "group by market_id) r cross join lateral (select {id} from {place} t where t.market_id = r.market_id "
            "and t.{id} between r.low and r.high offset 0) k where r.market_id = i.market_id and k.{id} = i.{id})"
        ).format(id=sql.Identifier(self.key[1]), place=self.place)

    def _replacing(self) -> sql.Composed:
        others = [name for name in columns(self.table) if name not in self.key]
        changes = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in others]
        better: sql.Composable
        if self.table.name == "klines":
            better = sql.SQL(
                "(excluded.closed and not held.closed) or "
                "(excluded.closed = held.closed and excluded.trade_count > held.trade_count)"
            )
        else:
            (filled,) = RANKS[self.table.name]
            better = sql.SQL("excluded.{0} is not null and held.{0} is null").format(sql.Identifier(filled))
        return sql.SQL("on conflict ({}) do update set {} where {}").format(
            _names(self.key), sql.SQL(", ").join(changes), better
        )


def _names(names: Iterable[str], of: str = "") -> sql.Composed:
    parts = [sql.Identifier(of, name) if of else sql.Identifier(name) for name in names]
    return sql.SQL(", ").join(parts)


def found(connection: psycopg.Connection, schema: str, name: str, url: str) -> Layout | None:
    """The table as it is there, or None.

    Raises:
        StoreDenied: it is another one of the same name.
    """
    table = tables.spec(name)
    have = {column: (kind, is_key) for _, column, kind, is_key in connection.execute(_LOOK, (schema, [name]))}
    if not have:
        return None
    unique = {column for column, (_, is_key) in have.items() if is_key}
    is_timed = unique != set(_key(table))
    fits = {column: kind for column, (kind, _) in have.items()} == columns(table)
    if not fits or (is_timed and unique != {*_key(table), table.time}):
        raise StoreDenied(
            f"{url} has a table {schema}.{name} that is not one of marketlab's: name another schema (?schema=...) in the URL."
        )
    return Layout(schema, table, is_timed=is_timed)


def make(connection: psycopg.Connection, schema: str, name: str) -> None:
    """Make the table where it is missing, with what it needs; of several who want it, one makes it."""
    table = tables.spec(name)
    # The others wait here, and then see what the first one has made.
    connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"marketlab {schema}",))
    if connection.execute("select from pg_namespace where nspname = %s", (schema,)).fetchone() is None:
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    have = {row[0] for row in connection.execute(_LOOK, (schema, [*_OWN, name]))}
    for own, statement in _OWN.items():
        if own not in have:
            connection.execute(sql.SQL(statement).format(schema=sql.Identifier(schema)))
    if name not in have:
        _make(connection, schema, table)


def _make(connection: psycopg.Connection, schema: str, table: tables.TableSpec) -> None:
    place = sql.Identifier(schema, table.name)
    timescale = connection.execute(
        "select nspname from pg_extension join pg_namespace n on n.oid = extnamespace where extname = 'timescaledb'"
    ).fetchone()
    key = _key(table)
    if timescale is not None and table.time not in key:
        key.append(table.time)
    parts = [_column(name, kind, table) for name, kind in columns(table).items()]
    statement = sql.SQL("create table {} ({}, primary key ({}))")
    connection.execute(statement.format(place, sql.SQL(", ").join(parts), _names(key)))
    by_time = ["market_id", table.time]
    if key[:2] != by_time:
        connection.execute(sql.SQL("create index on {} ({})").format(place, _names(by_time)))
    if timescale is not None:
        call = sql.SQL(
            "select {}.create_hypertable({}::regclass, {}::name, chunk_time_interval => {}::interval, "
            "create_default_indexes => false)"
        )
        whole = sql.Literal(place.as_string(connection))
        connection.execute(
            call.format(sql.Identifier(timescale[0]), whole, sql.Literal(table.time), sql.Literal(_CHUNK))
        )


def _column(name: str, kind: str, table: tables.TableSpec) -> sql.Composed:
    order = ' collate "C"' if kind == "text" else ""
    missing = "" if name in table.nullable else " not null"
    return sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(f"{kind}{order}{missing}"))
