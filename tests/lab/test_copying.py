import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from marketlab import tables
from marketlab.errors import UnknownSymbol, UsageError
from marketlab.lab.copying import Copying
from marketlab.records import AggTrade, BookSnapshot, BookUpdate, Gap, Kline, Origin, Quote, Record, Ticker, Trade
from marketlab.stores.contract import Commit, Store
from marketlab.stores.memory import MemoryStore
from marketlab.stores.open import open_store

from ..servers import InfluxServer
from ..stores.places import PLACES

START = 1_723_161_600_000_000
MINUTE = 60_000_000
# Every kind gives and takes; all pairs would tell no more.
PAIRS = [*(("memory", kind) for kind in PLACES), *((kind, "delta") for kind in PLACES if kind != "memory")]


def trade(number: int, symbol: str = "BTCUSDT", *, origin: Origin = "stream") -> Trade:
    # Three share each millisecond.
    time = START + number // 3 * 1_000
    return Trade("binance", symbol, str(100 + number), time, 60_000.0 + number, 0.5, "buy", time + 3, origin)


def kline(number: int, *, closed: bool = True, count: int = 7, interval: str = "1m", symbol: str = "BTCUSDT") -> Kline:
    at = START + number * MINUTE
    numbers = (1.0, 2.0, 0.5, 1.5, 2.0, 200.0, count, 1.0, 100.0)
    return Kline("binance", symbol, interval, at, at + MINUTE - 1, *numbers, closed, at, "simulated")


def gap(number: int, *, healed: bool = False) -> Gap:
    at = START + number * MINUTE
    at_last, by = (at + 9, "rest") if healed else (None, None)
    return Gap("binance", "BTCUSDT", "trade", at, at + 5, "1", "5", "hole", at_last, by, at, "stream")


def everything() -> list[Record]:
    records: list[Record] = [trade(number) for number in range(40)]
    records += [trade(number, "ETHUSDT", origin="simulated") for number in range(25)]
    records += [kline(number, symbol=symbol) for number in range(12) for symbol in ("BTCUSDT", "ETHUSDT")]
    records += [
        kline(4, closed=False, symbol="SOLUSDT"),
        kline(12, closed=False),
        kline(0, closed=False, interval="1d"),
    ]
    records += [
        Quote("binance", "BTCUSDT", 5 + number, START + number // 2, 1.0, 2.0, 3.0, 4.0, START + number // 2, "stream")
        for number in range(15)
    ]
    records += [
        AggTrade("binance", "BTCUSDT", str(n), START + n, 1.0, 2.0, "sell", "1", "2", START, "rest") for n in range(5)
    ]
    records += [
        Ticker("binance", "BTCUSDT", START, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, None, None, None, None, START, "stream")
    ]
    records += [
        BookSnapshot("binance", "BTCUSDT", n, START + n, [(2.0, 1.0), (1.0, 3.0)], [], 2, True, START, "stream")
        for n in range(3)
    ]
    records += [
        BookUpdate("binance", "BTCUSDT", n, n, None, START + n, [], [(1.0, 0.0)], START, "stream") for n in range(30)
    ]
    return [*records, gap(1), gap(2, healed=True)]


def put(store: Store, records: list[Record]) -> None:
    for name, table in tables.to_tables(records).items():
        store.write(name, table)


def done(copying: Copying) -> Copying:
    for _ in copying.run():
        pass
    return copying


def never(seconds: float) -> None:
    raise AssertionError("there is nothing to wait for")


@pytest.fixture
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str, str], Store]]:
    """Opens a store of a kind in a place of its own."""
    with ExitStack() as ending:

        def open_one(kind: str, name: str) -> Store:
            folder = tmp_path / name
            folder.mkdir()
            return ending.enter_context(ending.enter_context(PLACES[kind](request, folder))())

        yield open_one


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_table_is_the_same_in_the_other_store(opened: Any, source: str, target: str) -> None:
    giving, taking = opened(source, "from"), opened(target, "to")
    put(giving, everything())
    copied = done(Copying(giving, taking, pause=never, rows=8))
    for name in tables.TABLES:
        assert taking.read(name, include_open=True).equals(giving.read(name, include_open=True)), name
    assert sum(part.lacking for part in copied.copied) == 0
    assert sum(part.rows for part in copied.copied) == len(everything()) == copied.total == copied.done
    assert copied.simulated == 25 + 24 + 3
    again = done(Copying(giving, taking, pause=never, rows=8))
    assert again.written.total() == 0
    assert again.total == again.done == copied.total


def test_the_chosen_tables_symbols_and_times_only() -> None:
    giving, taking = MemoryStore(), MemoryStore()
    put(giving, everything())
    chosen: Any = {
        "names": ["trades", "klines"],
        "symbols": ["eth/usdt"],
        "start": START + 2_000,
        "end": START + MINUTE,
    }
    copied = done(Copying(giving, taking, **chosen))
    assert taking.read("klines").is_empty()
    assert taking.read("trades").equals(
        giving.read("trades", symbol="ETHUSDT", start=START + 2_000, end=START + MINUTE)
    )
    (part,) = copied.copied
    assert (part.table, part.symbol, part.rows, part.lacking) == ("trades", "ETHUSDT", 19, 0)
    assert done(Copying(giving, taking, **chosen)).written.total() == 0


class Watched(MemoryStore):
    """Remembers what is written to it, and loses rows where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.handed: list[pl.DataFrame] = []
        self.losing: list[str] = []

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        self.handed.append(table)
        return super().write(name, table.filter(~pl.col("trade_id").is_in(self.losing)), commit)


def trades(numbers: range) -> pl.DataFrame:
    return tables.to_table("trades", [trade(number) for number in numbers])


def test_an_interrupted_copy_goes_on_where_it_stopped() -> None:
    giving, taking = MemoryStore(), Watched()
    giving.write("trades", trades(range(300)))
    stopped = Copying(giving, taking, rows=10).run()
    for _ in range(20):
        next(stopped)
    assert taking.read("trades").height == 200
    taking.handed.clear()
    done(Copying(giving, taking, rows=10))
    assert taking.read("trades").equals(giving.read("trades"))
    # What was missing, and at most a few pieces more.
    assert 100 < sum(table.height for table in taking.handed) <= 150


_KILLED = """
import sys
from marketlab.lab.copying import Copying
from marketlab.stores.open import open_store

for _ in Copying(open_store(sys.argv[1]), open_store(sys.argv[2]), rows=10).run():
    print("piece", flush=True)
    sys.stdin.read(1)
"""


def test_a_copy_that_was_killed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    urls = f"delta://{tmp_path}/from", f"delta://{tmp_path}/to"
    with open_store(urls[0]) as giving, open_store(urls[1]) as taking:
        giving.write("trades", trades(range(60)))
        with subprocess.Popen(
            [sys.executable, "-c", _KILLED, *urls], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            for _ in range(3):
                program.stdout.readline()
                program.stdin.write(b".")
                program.stdin.flush()
            program.kill()
        held = taking.read("trades").height
        assert held in (30, 40)
        copied = done(Copying(giving, taking, rows=10))
        assert copied.written["trades"] == 60 - held
        assert taking.read("trades").equals(giving.read("trades"))


def test_a_server_that_is_killed_in_the_middle_is_waited_for(absent: Any) -> None:
    if InfluxServer.missing():
        absent(InfluxServer.part, InfluxServer.missing())
    giving, pauses = MemoryStore(), list[float]()
    giving.write("trades", trades(range(60)))
    with InfluxServer() as server, open_store(f"{server.url('copied')}?create=true") as taking:

        def wait(seconds: float) -> None:
            pauses.append(seconds)
            server.start()

        copying = Copying(giving, taking, pause=wait, rows=10)
        for piece, _ in enumerate(copying.run()):
            if piece == 2:
                server.kill()
        assert len(pauses) == 1
        assert taking.read("trades").equals(giving.read("trades"))
        assert [(part.rows, part.lacking) for part in copying.copied] == [(60, 0)]


def test_a_piece_that_had_arrived_in_part_is_made_whole() -> None:
    giving, taking = MemoryStore(), Watched()
    giving.write("trades", trades(range(300)))
    taking.write("trades", pl.concat([trades(range(190)), trades(range(195, 200))]))
    copied = done(Copying(giving, taking, rows=10))
    assert taking.read("trades").equals(giving.read("trades"))
    assert copied.written["trades"] == 105


def test_a_hole_far_back_is_found_by_the_count() -> None:
    giving, taking = MemoryStore(), Watched()
    giving.write("trades", trades(range(300)))
    taking.write("trades", pl.concat([trades(range(50)), trades(range(55, 200))]))
    copied = done(Copying(giving, taking, rows=10))
    assert taking.read("trades").equals(giving.read("trades"))
    assert [part.lacking for part in copied.copied] == [0]


def test_a_target_that_has_more_keeps_it_and_gets_what_it_lacks() -> None:
    giving, taking = MemoryStore(), Watched()
    giving.write("trades", trades(range(100, 200)))
    taking.write("trades", pl.concat([trades(range(150)), trades(range(180, 300))]))
    taking.handed.clear()
    copied = done(Copying(giving, taking, rows=10))
    assert taking.read("trades").equals(trades(range(300)))
    assert sum(table.height for table in taking.handed) == 30
    assert [(part.rows, part.lacking) for part in copied.copied] == [(100, 0)]


def test_what_is_lost_in_the_target_is_counted() -> None:
    giving, taking = MemoryStore(), Watched()
    giving.write("trades", trades(range(50)))
    taking.losing = ["110", "120"]
    copied = done(Copying(giving, taking, rows=10))
    assert [(part.symbol, part.rows, part.lacking) for part in copied.copied] == [("BTCUSDT", 50, 2)]


def test_a_gap_that_was_healed_and_a_kline_that_closed_go_over_again() -> None:
    giving, taking = MemoryStore(), MemoryStore()
    put(giving, [gap(1), gap(2), kline(1), kline(2, closed=False)])
    done(Copying(giving, taking))
    put(giving, [gap(1, healed=True), kline(2), kline(3, closed=False)])
    assert done(Copying(giving, taking)).written == {"gaps": 1, "klines": 2}
    put(giving, [kline(3, closed=False, count=9)])
    assert done(Copying(giving, taking)).written == {"klines": 1}
    for name in ("gaps", "klines"):
        assert taking.read(name, include_open=True).equals(giving.read(name, include_open=True))


def test_a_quote_that_the_target_has_under_another_time_is_there() -> None:
    giving, taking = MemoryStore(), MemoryStore()

    def quote(number: int, at: int) -> Quote:
        return Quote("binance", "BTCUSDT", number, START + at, 1.0, 2.0, 3.0, 4.0, START + at, "stream")

    put(giving, [quote(number, number) for number in range(9)])
    put(taking, [quote(4, 10_000)])
    copied = done(Copying(giving, taking))
    assert [(part.rows, part.lacking) for part in copied.copied] == [(9, 0)]
    assert taking.read("quotes").height == 9


def test_mistakes_are_told_before_anything_is_copied(tmp_path: Path) -> None:
    giving, taking = MemoryStore(), MemoryStore()
    put(giving, everything())
    with pytest.raises(UnknownSymbol, match="BTCUSDT"):
        Copying(giving, taking, symbols=["BTCUSD"])
    with pytest.raises(UsageError, match="Unknown table 'trade'"):
        Copying(giving, taking, names=["trade"])
    with pytest.raises(UsageError, match="no store is copied onto itself"):
        Copying(giving, giving)
