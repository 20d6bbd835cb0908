"""Batches of many symbols wait beside the table; whoever reads or writes sees them as if they were in it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab import tables
from marketlab.records import Kline
from marketlab.stores.contract import Commit
from marketlab.stores.delta import DeltaStore
from marketlab.stores.delta_stage import MOST_FILES, MOST_ROWS
from marketlab.stores.memory import MemoryStore

SYMBOLS = [f"COIN{number}USDT" for number in range(10)]
NEVER = 10**9


def table_of(records: list[Any]) -> pl.DataFrame:
    ((_, table),) = tables.to_tables(records).items()
    return table


def trades(rows: Any, numbers: range) -> pl.DataFrame:
    return table_of([rows.trade(number, symbol) for number in numbers for symbol in SYMBOLS])


def stored(folder: Path, name: str = "trades") -> int:
    """What somebody else than us sees."""
    return int(DeltaTable(folder / name).count())


def waiting(folder: Path, name: str = "trades") -> int:
    stage = folder / "_recent" / name
    return len(DeltaTable(stage).file_uris()) if stage.exists() else 0


def test_a_batch_of_many_symbols_is_one_file_until_the_store_closes(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    assert store.write("trades", trades(rows, range(3))) == 30
    assert store.write("trades", trades(rows, range(1, 4))) == 10
    assert (waiting(tmp_path), stored(tmp_path)) == (2, 0)
    for reader in (store, DeltaStore(tmp_path)):
        assert reader.read("trades").equals(tables.in_order("trades", trades(rows, range(4))))
        assert reader.read("trades", symbol=SYMBOLS[3]).height == 4
        assert reader.coverage("trades", symbol=SYMBOLS[0])[0].rows == 4
    store.close()
    store.close()
    assert (waiting(tmp_path), stored(tmp_path)) == (0, 40)
    assert DeltaStore(tmp_path).read("trades").equals(tables.in_order("trades", trades(rows, range(4))))


def test_many_rows_of_each_symbol_go_into_the_table_at_once(tmp_path: Path, rows: Any) -> None:
    DeltaStore(tmp_path).write("trades", trades(rows, range(300)))
    assert (waiting(tmp_path), stored(tmp_path)) == (0, 3_000)


def test_what_waits_is_joined_and_stays_in_order(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    for number in range(3 * MOST_FILES):
        assert store.write("trades", trades(rows, range(number, number + 2))) == (10 if number else 20)
        assert waiting(tmp_path) <= MOST_FILES + 1
    assert stored(tmp_path) == 0
    assert store.read("trades").equals(tables.in_order("trades", trades(rows, range(3 * MOST_FILES + 1))))


def test_what_waits_is_moved_when_there_is_enough_of_it(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    for start in range(0, MOST_ROWS // 10 + 300, 150):
        store.write("trades", trades(rows, range(start, start + 150)))
    assert stored(tmp_path) >= MOST_ROWS
    assert waiting(tmp_path) <= 2
    assert store.read("trades").height == start * 10 + 1_500


def test_what_has_waited_for_long_is_moved(tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketlab.stores.delta_stage.MOST_SECONDS", 0.0)
    store = DeltaStore(tmp_path)
    for number in range(3):
        store.write("trades", trades(rows, range(number, number + 1)))
    assert stored(tmp_path) >= 20


def test_what_waits_for_a_quiet_table_is_moved_by_writes_to_another(
    tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    DeltaStore(tmp_path).write("trades", trades(rows, range(3)))
    monkeypatch.setattr("marketlab.stores.delta_stage.MOST_SECONDS", 0.0)
    # One that was just opened looks at once, one that lives from time to time.
    DeltaStore(tmp_path).write("quotes", table_of([rows.quote(0)]))
    assert (waiting(tmp_path), stored(tmp_path)) == (0, 30)
    monkeypatch.setattr("marketlab.stores.delta_stage.MOST_SECONDS", 0.2)
    store = DeltaStore(tmp_path)
    store.write("trades", trades(rows, range(3, 6)))
    deadline = monotonic() + 60
    while waiting(tmp_path):
        assert monotonic() < deadline
        sleep(0.05)
        store.write("quotes", table_of([rows.quote(1)]))
    assert stored(tmp_path) == 60


def test_who_has_written_moves_what_a_killed_writer_left(tmp_path: Path, rows: Any) -> None:
    DeltaStore(tmp_path).write("trades", trades(rows, range(3)))
    with DeltaStore(tmp_path) as store:
        store.write("quotes", table_of([rows.quote(1)]))
        assert (waiting(tmp_path), stored(tmp_path)) == (1, 0)
    assert (waiting(tmp_path), stored(tmp_path)) == (0, 30)


def test_a_table_of_somebody_else_gets_nothing_from_a_stage(tmp_path: Path, rows: Any) -> None:
    DeltaStore(tmp_path).write("trades", trades(rows, range(3)))
    shutil.rmtree(tmp_path / "trades")
    pl.DataFrame({"other": [1]}).write_delta(tmp_path / "trades")
    with DeltaStore(tmp_path) as store:
        store.write("quotes", table_of([rows.quote(1)]))
    assert (waiting(tmp_path), stored(tmp_path), stored(tmp_path, "quotes")) == (1, 1, 1)


def test_who_only_reads_moves_nothing(tmp_path: Path, rows: Any) -> None:
    DeltaStore(tmp_path).write("trades", trades(rows, range(3)))
    with DeltaStore(tmp_path) as reader:
        assert reader.read("trades").height == 30
    assert waiting(tmp_path) == 1


def test_a_named_batch_lands_once_wherever_it_went(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    one, other = trades(rows, range(3)), table_of(rows.trades(range(5)))
    assert store.write("trades", one, Commit("writer", 1)) == 30
    assert store.write("trades", other, Commit("writer", 2)) == 5
    before = DeltaTable(tmp_path / "trades").version()
    for again in (store, DeltaStore(tmp_path)):
        # Other rows under the same names show that the name decides.
        assert again.write("trades", trades(rows, range(9)), Commit("writer", 1)) == 0
        assert again.write("trades", table_of(rows.trades(range(9))), Commit("writer", 2)) == 0
    assert DeltaTable(tmp_path / "trades").version() == before


def test_rows_that_were_moved_and_are_still_waiting_are_there_once(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    store.write("trades", trades(rows, range(3)))
    shutil.copytree(tmp_path / "_recent", tmp_path / "copy")
    store.close()
    # As after a kill between the two commits of a move.
    shutil.rmtree(tmp_path / "_recent")
    (tmp_path / "copy").rename(tmp_path / "_recent")
    again = DeltaStore(tmp_path)
    assert again.read("trades").height == again.scan("trades").collect().height == 30
    assert again.coverage("trades", symbol=SYMBOLS[0])[0].rows == 3
    assert again.write("trades", trades(rows, range(2, 4))) == 10
    again.close()
    assert (waiting(tmp_path), stored(tmp_path)) == (0, 40)


def test_what_waits_is_deleted_too_and_does_not_come_back(tmp_path: Path, rows: Any) -> None:
    store, other = DeltaStore(tmp_path), DeltaStore(tmp_path)
    store.write("trades", trades(rows, range(4)))
    other.write("trades", trades(rows, range(4, 8)))
    assert store.delete("trades", symbol=SYMBOLS[0]) == 8
    for one in (store, other):
        one.close()
    assert stored(tmp_path) == 72


def test_writers_and_movers_side_by_side_leave_each_row_once(tmp_path: Path, rows: Any) -> None:
    def write(start: int, many: int) -> None:
        with DeltaStore(tmp_path, many_symbols=many, small_files=10) as store:
            for at in range(start, 60, 10):
                store.write("trades", trades(rows, range(at, at + 20)))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, *plan) for plan in ((0, 8), (0, NEVER), (5, 8), (10, 1))]:
            done.result()
    with DeltaStore(tmp_path) as store:
        found = store.read("trades")
    assert found.equals(tables.in_order("trades", trades(rows, range(75))))
    assert stored(tmp_path) == found.height


def test_a_reader_misses_nothing_while_rows_are_moved(tmp_path: Path, rows: Any) -> None:
    writer, reader = DeltaStore(tmp_path), DeltaStore(tmp_path)
    writer.write("trades", trades(rows, range(1)))

    def write() -> None:
        for number in range(1, 100):
            writer.write("trades", trades(rows, range(number, number + 1)))
            if number % 20 == 0:
                with DeltaStore(tmp_path) as mover:
                    mover.write("trades", trades(rows, range(number + 2)))

    seen = 0
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            found = reader.read("trades", symbol=SYMBOLS[0]).get_column("trade_id").to_list()
            assert found == [str(number) for number in range(len(found))]
            assert len(found) >= seen
            seen = len(found)
        writing.result()
    assert reader.read("trades").height == 1_000


KLINES = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 3)), min_size=1, max_size=4)
DOINGS = st.lists(st.tuples(st.sampled_from(["staged", "direct", "move", "delete"]), KLINES), min_size=1, max_size=8)


def klines(rows: Any, facts: list[tuple[int, bool, int]], turn: int) -> list[Kline]:
    # Each told at another price, so that one sees which of several rows with one key has stayed.
    return [
        rows.kline(number, "BTCUSDT", closed=closed, count=count, close=1.0 + turn + 0.01 * place)
        for place, (number, closed, count) in enumerate(facts)
    ]


@given(doings=DOINGS)
@settings(max_examples=30, deadline=None)
def test_it_is_all_the_same_by_which_way_rows_came(rows: Any, doings: list[Any]) -> None:
    with TemporaryDirectory() as folder, MemoryStore() as wanted:
        ways = {"staged": DeltaStore(Path(folder), many_symbols=1), "direct": DeltaStore(Path(folder))}
        for turn, (what, facts) in enumerate(doings):
            if what in ways:
                batch = table_of(klines(rows, facts, turn))
                assert ways[what].write("klines", batch) == wanted.write("klines", batch)
            elif what == "move":
                ways["staged"].close()
                ways["staged"] = DeltaStore(Path(folder), many_symbols=1)
            else:
                start = rows.midnight + facts[0][0] * 60_000_000
                assert ways["direct"].delete("klines", start=start) == wanted.delete("klines", start=start)
            for store in ways.values():
                assert store.read("klines", include_open=True).equals(wanted.read("klines", include_open=True))


@pytest.mark.parametrize("name", list(tables.TABLES))
def test_every_table_can_wait(tmp_path: Path, rows: Any, name: str) -> None:
    records = [rows.trade(1), rows.quote(1), rows.kline(1), rows.snapshot(1), rows.gap(1), rows.gap(2, healed=True)]
    table = tables.to_tables(records).get(name)
    if table is None:
        table = tables.empty(name)
    with DeltaStore(tmp_path, many_symbols=1) as store:
        store.write(name, table)
        assert DeltaStore(tmp_path).read(name).equals(table)
    assert DeltaStore(tmp_path).read(name).equals(table)
