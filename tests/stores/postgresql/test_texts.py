"""Tables become text and tables again, cell by cell."""

from datetime import UTC
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab import tables
from marketlab.stores.postgresql.layout import columns
from marketlab.stores.postgresql.texts import from_csv, to_csv

from ...servers import PostgresServer

numbers = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
times = st.datetimes(timezones=st.just(UTC))
levels = st.lists(st.fixed_dictionaries({"price": numbers, "size": numbers}), max_size=4)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    pl.String(): words,
    pl.Int64(): integers,
    pl.Float64(): numbers,
    pl.Boolean(): st.booleans(),
    tables.TIME: times,
    tables.LEVELS: levels,
}


def rows_of(table: tables.TableSpec) -> st.SearchStrategy[list[dict[str, Any]]]:
    cells = {
        name: VALUES[kind] if name not in table.nullable else st.none() | VALUES[kind]
        for name, kind in table.schema.items()
    }
    return st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=5)


def same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Equal to the sign of zero."""
    return repr(one.to_dicts()) == repr(other.to_dicts()) and one.schema == other.schema


@pytest.fixture(scope="module")
def connection(postgres: PostgresServer) -> Any:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'; set extra_float_digits = 1")
        yield connection


@pytest.mark.parametrize("name", tables.TABLES)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_what_goes_through_the_server_comes_back(name: str, connection: Any, data: st.DataObject) -> None:
    table = tables.spec(name)
    rows = pl.DataFrame(data.draw(rows_of(table)), dict(table.schema)).drop("exchange", "symbol")
    rows = rows.with_columns(market_id=pl.lit(1, pl.Int64()))
    kinds = columns(table)
    body = ", ".join(f'"{column}" {kind}' for column, kind in kinds.items())
    with connection.transaction():
        connection.execute(f"create temporary table there ({body}) on commit drop")
        with connection.cursor().copy("copy there from stdin (format csv)") as copy:
            copy.write(to_csv(table, rows))
        with connection.cursor().copy("copy there to stdout (format csv)") as copy:
            text = b"".join(bytes(part) for part in copy)
    assert same(from_csv(list(kinds), table.schema, text), rows.select(list(kinds)))


def test_no_text_is_a_table_without_rows() -> None:
    table = tables.spec("book_snapshots")
    found = from_csv(["market_id", "time", "bids"], table.schema, b"")
    assert dict(found.schema) == {"market_id": pl.Int64(), "time": tables.TIME, "bids": tables.LEVELS}
