"""Real recordings go into every store and come back cell by cell, also when they are written twice."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from marketlab import tables
from marketlab.lab.replay import Replay
from marketlab.stores.contract import Store

TRADES = {"BTCUSDT": 10_147, "ETHUSDT": 8_409 + 6_106}
SIZES = {"BTCUSDT": 225.88237, "ETHUSDT": 2011.4092 + 2261.3149}


@pytest.fixture(scope="module")
def history(tapes: Path) -> dict[str, pl.DataFrame]:
    """The three tapes as one table for each kind of record, in the order that a store promises."""
    replay = Replay(sorted(tapes.glob("*.gz")))
    found = tables.to_tables(record for batch in replay.batches() for record in batch)
    return {name: tables.in_order(name, tables.unique(name, table)) for name, table in found.items()}


def put(store: Store, history: dict[str, pl.DataFrame], rows: int) -> None:
    for name, table in history.items():
        for part in table.iter_slices(rows):
            store.write(name, part)


def require_equal(store: Store, history: dict[str, pl.DataFrame]) -> None:
    for name, table in history.items():
        assert store.read(name, include_open=True).equals(table), name
        parts = list(store.batches(name, include_open=True, rows=10_000))
        assert pl.concat(parts).equals(table), name
    closed = history["klines"].filter("closed")
    assert store.read("klines").equals(closed)
    for symbol in TRADES:
        assert store.read("klines", symbol=symbol, interval="1m").equals(closed.filter(symbol=symbol))


def test_the_tapes_are_what_they_are_known_to_be(history: dict[str, pl.DataFrame]) -> None:
    trades = history["trades"]
    assert dict(trades.group_by("symbol").len().iter_rows()) == TRADES
    for symbol, size in trades.group_by("symbol").agg(pl.col("size").sum()).iter_rows():
        assert size == pytest.approx(SIZES[symbol], abs=1e-9)
    for (_,), part in trades.partition_by("symbol", as_dict=True).items():
        assert (part.get_column("trade_id").cast(pl.Int64).diff().drop_nulls() == 1).all()
    assert set(history) >= {"trades", "quotes", "klines", "book_updates", "book_snapshots"}


def test_the_tapes_come_back_cell_by_cell_once_and_again(
    history: dict[str, pl.DataFrame], open_again: Callable[[], Store]
) -> None:
    with open_again() as store:
        put(store, history, 20_000)
        require_equal(store, history)
        put(store, history, 50_000)
        require_equal(store, history)
        counted = {found.symbol: found.rows for found in store.coverage("trades")}
        assert counted == TRADES


def test_a_part_of_the_tapes_is_found_by_symbol_and_time(
    history: dict[str, pl.DataFrame], open_again: Callable[[], Store]
) -> None:
    quotes = history["quotes"]
    start, end = quotes["time"][10_000], quotes["time"][60_000]
    with open_again() as store:
        put(store, {"quotes": quotes}, 50_000)
        for symbol in TRADES:
            wanted = (pl.col("symbol") == symbol) & pl.col("time").is_between(start, end, closed="left")
            assert store.read("quotes", symbol=symbol, start=start, end=end).equals(quotes.filter(wanted))
