"""Rows as points: every cell survives the way there and back, and no two rows share a point."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlab import records, tables
from marketlab.lab.replay import Replay
from marketlab.stores.influxdb import layout

AT = 1_723_161_600_000_000

NUMBER = st.floats(allow_nan=False, allow_infinity=False)
TIME = st.integers(0, 4_000_000_000_000_000)
LEVELS = st.lists(st.tuples(NUMBER, NUMBER), max_size=4)
WORD = st.text(min_size=1, max_size=6)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: WORD,
    int: st.integers(0, 2**63 - 1),
    float: NUMBER,
    bool: st.booleans(),
    records.Origin: st.sampled_from(records.ORIGINS),
    records.Side: st.sampled_from(["buy", "sell"]),
    records.Levels: LEVELS,
    str | None: st.none() | WORD,
    int | None: st.none() | st.integers(0, 2**62),
    float | None: st.none() | NUMBER,
}


def rows_of(name: str) -> st.SearchStrategy[pl.DataFrame]:
    table = tables.spec(name)
    times = {column for column, kind in table.schema.items() if kind == tables.TIME}
    fields = {
        field: TIME if field in times else VALUES[annotation]
        for field, annotation in table.record.__annotations__.items()
    }
    made = st.lists(st.builds(table.record, **fields), min_size=1, max_size=5)
    return made.map(lambda found: tables.to_table(name, found))


@pytest.mark.parametrize("name", tables.TABLES)
@given(data=st.data())
def test_every_cell_comes_back(name: str, data: st.DataObject) -> None:
    table = data.draw(rows_of(name))
    points = layout.points(name, table)
    assert set(points.columns) - {layout.ID} == {*layout.tags(name), *layout.fields(name), "time"}
    for column, kind in layout.fields(name).items():
        assert points.schema[column] == kind
    assert layout.restored(name, points, table.columns).equals(table)


@pytest.mark.parametrize("name", ["trades", "agg_trades", "quotes", "book_snapshots", "book_updates"])
@given(data=st.data())
def test_no_two_rows_of_a_batch_share_a_point(name: str, data: st.DataObject) -> None:
    table = tables.unique(name, data.draw(rows_of(name))).with_columns(
        symbol=pl.lit("BTCUSDT"), time=pl.lit(AT).cast(tables.TIME)
    )
    table = tables.unique(name, table)
    points = layout.points(name, table)
    series = [column for column in ("exchange", "symbol", layout.ID) if column in points.columns]
    assert points.select(*series, "time").is_unique().all()


@given(st.integers(0, 2**63 - 1), TIME)
def test_nanoseconds_are_stable_and_reversible(id: int, time: int) -> None:
    quote = records.Quote("binance", "BTCUSDT", id, time, 1.0, 1.0, 1.0, 1.0, time, "stream")
    trade = records.Trade("binance", "BTCUSDT", str(id), time, 1.0, 1.0, "buy", time, "stream")
    for record in (quote, trade):
        name = tables.table_of(record)
        found = layout.points(name, tables.to_table(name, [record]))
        assert found.get_column("time").to_list() == [time * 1_000 + id % 1_000]
        assert layout.ID not in found.columns


def test_ids_that_are_no_plain_number_are_a_tag() -> None:
    ids = ["7", "0007", "7a", "a-b", str(2**70), f"{2**70}x", "-7", "7.0"]
    found = layout.points(
        "trades",
        tables.to_table("trades", [records.Trade("x", "A", id, AT, 1.0, 1.0, "buy", AT, "rest") for id in ids]),
    )
    told = dict(zip(ids, found.get_column(layout.ID).to_list(), strict=True))
    assert {id for id, tag in told.items() if tag is None} == {"7", str(2**70)}
    assert all(tag in (None, id) for id, tag in told.items())


def test_ids_a_thousand_apart_in_one_microsecond_are_a_tag_in_one_batch() -> None:
    rows = [records.Trade("x", "A", str(id), AT, 1.0, 1.0, "buy", AT, "rest") for id in (5, 1_005, 6)]
    found = layout.points("trades", tables.to_table("trades", rows))
    assert found.get_column(layout.ID).to_list() == ["5", "1005", None]


def test_klines_carry_the_close_as_price_too() -> None:
    assert layout.measurement("klines", "p_") == "p_crypto_price"
    assert layout.fields("klines")[layout.PRICE] == pl.Float64()
    assert layout.PRICE not in tables.spec("klines").schema


def test_ids_modulo_1000_tell_all_rows_of_the_tapes_apart(tapes: Path) -> None:
    """Binance stamps with milliseconds, and many rows share one; their ids, modulo 1000, do not collide."""
    replay = Replay(sorted(tapes.glob("*.gz")))
    found = tables.to_tables(record for batch in replay.batches() for record in batch)
    assert found["trades"].height == 10_147 + 8_409 + 6_106
    shared = found["trades"].select(pl.struct("symbol", "time").is_duplicated().sum()).item()
    assert shared > 15_000
    for name in ("trades", "quotes", "book_updates", "book_snapshots"):
        table = tables.unique(name, found[name])
        points = layout.points(name, table)
        assert layout.ID not in points.columns
        assert points.select(pl.struct("exchange", "symbol", "time").is_unique().all()).item()
        # Even where a time is cut to its millisecond.
        rough = points.select("symbol", pl.col("time") // 1_000_000, slot=pl.col("time") % 1_000)
        assert name == "book_snapshots" or rough.is_unique().all()
