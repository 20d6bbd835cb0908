"""Hypertables, where a server with TimescaleDB is named."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from marketlab import tables
from marketlab.stores.postgresql.store import PostgresStore

from ..places import elsewhere
from .conftest import opened


@pytest.fixture
def timescale() -> Iterator[PostgresStore]:
    """A store in a schema of its own."""
    url = elsewhere("MARKETLAB_TEST_TIMESCALE_URL")
    schema = f"test_{uuid4().hex}"
    with opened(f"{url}{'&' if '?' in url else '?'}schema={schema}") as store:
        yield store
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"drop schema if exists {schema} cascade".encode())


def test_every_table_is_a_hypertable_of_its_time(timescale: PostgresStore, rows: Any) -> None:
    for record in (rows.trade(1), rows.quote(1), rows.kline(1), rows.snapshot(1), rows.gap(1)):
        for name, table in tables.to_tables([record]).items():
            assert timescale.write(name, table) == 1
    found = timescale.query(
        "select hypertable_name::text as name, column_name::text as time from timescaledb_information.dimensions "
        "where hypertable_schema = current_schema()"
    )
    assert dict(found.rows()) == {
        name: tables.spec(name).time for name in ("trades", "quotes", "klines", "book_snapshots", "gaps")
    }


def test_a_quote_is_there_once_over_all_chunks(timescale: PostgresStore, rows: Any) -> None:
    week = 7 * 86_400_000_000
    first = [rows.quote(number, received=rows.midnight + number * week) for number in range(5)]
    again = [rows.quote(number, received=rows.midnight + (number + 9) * week) for number in range(6)]
    assert timescale.write("quotes", tables.to_table("quotes", first)) == 5
    assert timescale.write("quotes", tables.to_table("quotes", again)) == 1
    assert timescale.read("quotes").get_column("update_id").to_list() == [0, 1, 2, 3, 4, 5]
    assert timescale.delete("quotes", start=rows.midnight + week, end=rows.midnight + 3 * week) == 2
    assert timescale.coverage("quotes")[0].rows == 4
