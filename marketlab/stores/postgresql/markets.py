"""The table `markets`: every exchange and symbol once, with a number that PostgreSQL gives."""

from typing import Any

import polars as pl
import psycopg
from psycopg import sql

__all__ = ["EMPTY", "known", "numbered"]

_SCHEMA: dict[str, Any] = {"market_id": pl.Int64(), "exchange": pl.String(), "symbol": pl.String()}
EMPTY = pl.DataFrame(schema=_SCHEMA)


def known(connection: psycopg.Connection, markets: sql.Identifier) -> pl.DataFrame:
    """All of them: market_id, exchange, symbol."""
    rows = connection.execute(sql.SQL("select id, exchange, symbol from {}").format(markets)).fetchall()
    return pl.DataFrame(rows, _SCHEMA, orient="row")


def numbered(connection: psycopg.Connection, markets: sql.Identifier, batch: pl.DataFrame) -> pl.DataFrame:
    """A batch with the column `market_id`; new markets are made, by several writers at once if need be."""
    pairs = batch.select("exchange", "symbol").unique().sort("exchange", "symbol")
    # As literals, since a percent sign in the schema's name would be taken for the place of a parameter.
    wanted = [sql.Literal(pairs.get_column(column).to_list()) for column in ("exchange", "symbol")]
    found = _found(connection, markets, wanted)
    if found.height < pairs.height:
        # Only those that are missing, since a refused row would use up a number; in order, so that nobody waits in a ring.
        statement = (
            "insert into {0} (exchange, symbol) select w.* from unnest({1}::text[], {2}::text[]) w (exchange, symbol) "
            "where not exists (select from {0} m where m.exchange = w.exchange and m.symbol = w.symbol) "
            'order by w.exchange collate "C", w.symbol collate "C" on conflict do nothing'
        )
        connection.execute(sql.SQL(statement).format(markets, *wanted))
        found = _found(connection, markets, wanted)
    return batch.join(found, on=["exchange", "symbol"], how="inner", maintain_order="left")


def _found(connection: psycopg.Connection, markets: sql.Identifier, wanted: list[sql.Literal]) -> pl.DataFrame:
    statement = (
        "select id, exchange, symbol from {} join unnest({}::text[], {}::text[]) w (exchange, symbol) "
        "using (exchange, symbol)"
    )
    rows = connection.execute(sql.SQL(statement).format(markets, *wanted)).fetchall()
    return pl.DataFrame(rows, _SCHEMA, orient="row")
