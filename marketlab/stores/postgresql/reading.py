"""What is asked of a table, as SQL, and the answer as it streams in."""

from collections.abc import Iterator

import polars as pl
import psycopg
from psycopg import sql

from marketlab.stores.postgresql.layout import Layout, columns
from marketlab.stores.postgresql.texts import from_csv
from marketlab.stores.selection import Selection

__all__ = ["condition", "streamed"]

_BYTES = 8_000_000  # of text that is turned into a table at a time


def condition(wanted: Selection, markets: pl.DataFrame | None) -> sql.Composed:
    """The rows of a selection, of these markets; None for all markets."""
    parts: list[sql.Composable] = [sql.SQL("true")]
    if markets is not None:
        ids = markets.get_column("market_id").to_list()
        # Of one market the index gives the order of time too.
        form = "market_id = {}" if len(ids) == 1 else "market_id = any({}::integer[])"
        parts.append(sql.SQL(form).format(sql.Literal(ids[0] if len(ids) == 1 else ids)))
    time = sql.Identifier(wanted.table.time)
    if wanted.interval is not None:
        parts.append(sql.SQL("interval = {}").format(sql.Literal(wanted.interval)))
    if wanted.start is not None:
        parts.append(sql.SQL("{} >= {}").format(time, sql.Literal(wanted.start)))
    if wanted.end is not None:
        parts.append(sql.SQL("{} < {}").format(time, sql.Literal(wanted.end)))
    if wanted.table.name == "klines" and not wanted.include_open:
        parts.append(sql.SQL("closed"))
    return sql.SQL(" and ").join(parts)


def streamed(
    connection: psycopg.Connection,
    layout: Layout,
    wanted: Selection,
    names: list[str],
    markets: pl.DataFrame,
    *,
    of_all: bool,
    in_time: bool = False,
) -> Iterator[pl.DataFrame]:
    """Columns of a selection's rows in tables of some megabytes, in the order of time if asked for.

    Of these markets; `of_all` says that there are no others, so that none need be named.
    """
    table = layout.table
    own = ["market_id", *(name for name in columns(table) if name in names)]
    order = sql.SQL("order by {}").format(sql.Identifier(table.time)) if in_time else sql.SQL("")
    question = sql.SQL("copy (select {} from {} where {} {}) to stdout (format csv)").format(
        sql.SQL(", ").join(map(sql.Identifier, own)),
        layout.place,
        condition(wanted, None if of_all else markets),
        order,
    )
    for text in _texts(connection, question):
        rows = from_csv(own, table.schema, text)
        yield rows.join(markets, on="market_id", how="inner", maintain_order="left").select(names)


def _texts(connection: psycopg.Connection, question: sql.Composed) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    with connection.cursor().copy(question) as copy:
        # Each part is a whole row.
        for part in copy:
            parts.append(bytes(part))
            size += len(part)
            if size >= _BYTES:
                yield b"".join(parts)
                parts, size = [], 0
    if parts:
        yield b"".join(parts)
