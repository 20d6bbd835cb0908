"""Tables that are unique only together with the time, as hypertables are, without TimescaleDB: partitioned by hand."""

import psycopg

from marketlab import tables
from marketlab.stores.postgresql import layout

__all__ = ["make"]

_WITHOUT_TIME = {"trades": "trade_id", "agg_trades": "agg_id", "quotes": "update_id"} | {
    "book_snapshots": "update_id",
    "book_updates": "last_id",
}


def make(url: str, schema: str) -> None:
    """Every table whose key has no time, in two partitions and one for the rest."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name in tables.TABLES:
            with connection.transaction():
                layout.make(connection, schema, name)
        connection.execute(f"set search_path = {schema}".encode())
        for name, id in _WITHOUT_TIME.items():
            for statement in (
                f"alter table {name} rename to plain",
                f"create table {name} (like plain, primary key (market_id, {id}, time)) partition by range (time)",
                f"create table {name}_1 partition of {name} for values from (minvalue) to ('2024-08-09T00:00:00.020Z')",
                f"create table {name}_2 partition of {name} for values from ('2024-08-09T00:00:00.020Z') to ('2024-08-10Z')",
                f"create table {name}_3 partition of {name} default",
                "drop table plain",
            ):
                connection.execute(statement.encode())
