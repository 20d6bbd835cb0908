"""What a store has already is told to a feed only where it ends shortly before the exchange's own time."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event

import msgspec
import polars as pl
import pytest

from marketlab import tables
from marketlab.errors import StoreUnavailable
from marketlab.exchanges.contract import Subscription
from marketlab.lab.resuming import remembered
from marketlab.records import AggTrade, BookUpdate, Gap, Kline, Origin, Quote, Record, Trade
from marketlab.stores.contract import Batching, Store
from marketlab.stores.delta import DeltaStore
from marketlab.stores.memory import MemoryStore
from marketlab.stores.selection import Selection
from marketlab.stores.spool import Spool
from marketlab.stores.writer import Writer

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOW = 1_723_161_600_000_000
HOUR = 3600.0
STREAMS = [Subscription("BTCUSDT", channel) for channel in ("trade", "agg_trade", "kline_1m", "kline_1h", "quote")]


def trade(id: int, ago: float = 10, symbol: str = "BTCUSDT", origin: Origin = "stream") -> Trade:
    time = NOW - round(ago * SECOND)
    return Trade("binance", symbol, str(id), time, 1.0, 1.0, "buy", time, origin)


def agg_trade(id: int, ago: float = 10) -> AggTrade:
    time = NOW - round(ago * SECOND)
    return AggTrade("binance", "BTCUSDT", str(id), time, 1.0, 1.0, "buy", "1", "1", time, "stream")


def kline(minutes_ago: int, *, interval: str = "1m", minutes: int = 1, closed: bool = True) -> Kline:
    start = NOW - minutes_ago * MINUTE
    prices = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1.0)
    end = start + minutes * MINUTE - 1
    return Kline("binance", "BTCUSDT", interval, start, end, *prices, closed, start, "stream")


def gap(channel: str, first: int, last: int, ago: float = 20, *, healed: bool = False) -> Gap:
    start = NOW - round(ago * SECOND)
    at, by = (NOW, "rest") if healed else (None, None)
    ids = str(first), str(last)
    return Gap("binance", "BTCUSDT", channel, start, start + SECOND, *ids, "x", at, by, NOW, "stream")


def holding(*records: Record) -> Store:
    store = MemoryStore()
    write(store, *records)
    return store


def write(store: Store, *records: Record) -> None:
    for name, table in tables.to_tables(records).items():
        store.write(name, table)


def asked(
    *stores: Store, streams: Sequence[Subscription] = STREAMS, origin: Origin = "rest", seconds: float = HOUR
) -> list[Record]:
    return list(remembered(stores, "binance", streams, NOW, origin, seconds))


def test_the_newest_of_each_stream() -> None:
    newest = trade(1000), agg_trade(7), kline(62, interval="1h", minutes=60), kline(2)
    older = trade(999), trade(998, 30), agg_trade(6), kline(3), kline(122, interval="1h", minutes=60)
    others = kline(1, closed=False), trade(5, symbol="ETHUSDT"), kline(10, interval="5m", minutes=5)
    assert asked(holding(*newest, *older, *others)) == list(newest)
    assert asked(holding(*newest), streams=STREAMS[:1]) == [newest[0]]
    assert asked(holding(*newest), streams=STREAMS[4:]) == []


def quote(id: int, ago: float = 10, symbol: str = "BTCUSDT") -> Quote:
    time = NOW - round(ago * SECOND)
    return Quote("binance", symbol, id, time, 1.0, 1.0, 2.0, 1.0, time, "stream")


def update(id: int, ago: float = 10, symbol: str = "BTCUSDT") -> BookUpdate:
    time = NOW - round(ago * SECOND)
    return BookUpdate("binance", symbol, id, id, None, time, [(1.0, 1.0)], [], time, "stream")


def test_the_newest_quote_and_book_update_of_each_symbol() -> None:
    streams = [Subscription(symbol, channel) for symbol in ("BTCUSDT", "ETHUSDT") for channel in ("book", "quote")]
    newest = quote(9), quote(7, 900, "ETHUSDT"), update(9), update(5, 900, "ETHUSDT")
    older = quote(8), quote(8, 11), quote(6, 901, "ETHUSDT"), update(8, 12), update(4, 1000, "ETHUSDT")
    assert asked(holding(*older, *newest), streams=streams) == list(newest)
    assert asked(holding(*newest, update(10, -300), quote(10, -300)), streams=streams) == [newest[1], newest[3]]
    assert asked(holding(quote(8, 3601)), streams=streams) == []


def test_nothing_stored_is_nothing_remembered(tmp_path: Path) -> None:
    assert asked(holding()) == asked(DeltaStore(tmp_path)) == asked() == []


@pytest.mark.parametrize("ago", [3601.0, -1.5, -300.0])
def test_what_is_long_past_or_not_past_does_not_count(ago: float) -> None:
    assert asked(holding(trade(7, 50), trade(8, ago))) == ([trade(7, 50)] if ago > 0 else [])
    assert asked(holding(trade(8, ago), gap("trade", 5, 6))) == []


def test_clocks_may_differ_a_little() -> None:
    assert asked(holding(trade(7, 3), trade(8, -0.5))) == [trade(8, -0.5)]


@pytest.mark.parametrize("seconds", [1.0, 60.0])
def test_how_far_back_is_for_the_caller_to_say(seconds: float) -> None:
    assert asked(holding(trade(7, 30)), seconds=seconds) == ([trade(7, 30)] if seconds > 30 else [])


def test_simulated_and_real_never_continue_each_other() -> None:
    real, simulated = holding(trade(7)), holding(trade(7, origin="simulated"))
    assert asked(real, origin="simulated") == asked(simulated) == asked(simulated, origin="replay") == []
    assert asked(simulated, origin="simulated") == [trade(7, origin="simulated")]
    assert asked(real, origin="replay") == [trade(7)]


def test_the_store_that_is_furthest_behind_decides() -> None:
    ahead, behind = holding(trade(1000), kline(2)), holding(trade(999), kline(3))
    for stores in ((ahead, behind), (behind, ahead), (holding(), ahead, behind)):
        assert asked(*stores) == [trade(999), kline(3)]


def test_gaps_come_behind_and_the_open_one_counts() -> None:
    gaps = [gap("trade", 5, 6), gap("trade", 8, 8, 18, healed=True)]
    book, unwanted = gap("book", 1, 2), gap("kline_5m", 1, 2)
    store = holding(trade(9), *gaps, book, unwanted)
    assert asked(store) == [trade(9), *gaps]
    healed = msgspec.structs.replace(gaps[0], healed_at=NOW, healed_from="rest")
    other = holding(trade(9), healed)
    assert asked(store, other) == asked(other, store) == [trade(9), *gaps]


def test_a_gap_behind_the_newest_is_found_anew() -> None:
    behind, ahead = holding(trade(4, 21)), holding(trade(9), gap("trade", 5, 6))
    assert asked(behind, ahead) == [trade(4, 21)]
    missing = msgspec.structs.replace(gap("kline_1m", 1, 1, 300), from_id=None, to_id=None)
    assert asked(holding(kline(2), missing)) == [kline(2), missing]
    assert asked(holding(kline(9)), holding(kline(2), missing)) == [kline(9)]


def test_klines_are_owed_since_the_first_trade_where_none_is_kept_yet() -> None:
    trades = trade(1, 200), trade(2, 10)
    streams = [*STREAMS[:1], *STREAMS[2:]]
    newest, owed = asked(holding(*trades), streams=streams)
    assert newest == trades[1]
    assert isinstance(owed, Kline)
    # It is midnight: three whole minutes have begun since the first trade, but no hour before now.
    assert (owed.interval, owed.close_time + 1) == ("1m", NOW - 3 * MINUTE)
    assert asked(holding(*trades), holding(trade(3, 5)), streams=streams) == [trades[1], owed]
    assert asked(holding(*trades, kline(2)), streams=streams) == [trades[1], kline(2)]


def test_no_kline_is_owed_for_a_period_that_had_begun_before() -> None:
    store = holding(trade(1, 0.5))
    assert remembered([store], "binance", STREAMS, NOW - 1, "rest", HOUR) == [trade(1, 0.5)]


def test_a_spool_counts_whether_it_is_adopted_or_not(tmp_path: Path) -> None:
    store = DeltaStore(tmp_path)
    write(store, trade(7), kline(3))
    spool = Spool.create(tmp_path / "_spool")
    spool.append([trade(8), kline(2)])
    spool.release()
    assert asked(store) == [trade(8), kline(2)]
    with Writer(store, batching=Batching(1_000, 3600.0, 1_000_000)) as writer:
        assert asked(store) == [trade(8), kline(2)]
        writer.accept([trade(9)])
        writer.flush()
        assert asked(store) == [trade(9), kline(2)]


def test_a_store_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    store = DeltaStore(tmp_path)
    write(store, trade(7))
    for file in tmp_path.rglob("*.parquet"):
        file.unlink()
    with pytest.raises(StoreUnavailable, match="Cannot read delta://"):
        asked(store)


class SlowStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.answers = Event()

    def _find(self, wanted: Selection) -> pl.DataFrame:
        self.answers.wait()
        return super()._find(wanted)


def test_a_store_that_takes_its_time_holds_nobody_up(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.append([trade(8), gap("trade", 5, 6)])
    slow, told = SlowStore(), list[StoreUnavailable]()
    found = remembered(
        [slow, holding(trade(9))],
        "binance",
        STREAMS[:1],
        NOW,
        "rest",
        HOUR,
        spools=[tmp_path, None],
        absent=told.append,
        within=0.2,
    )
    slow.answers.set()
    spool.release()
    assert found == [trade(8), gap("trade", 5, 6)]
    assert [str(error) for error in told] == ["memory:// does not say within 0.2 s what it has."]


def test_where_only_the_spool_is_known_the_minute_in_which_it_begins_is_owed_too(tmp_path: Path) -> None:
    # What came before it is in the store, which does not say so: that minute may be the one that was running.
    spool = Spool.create(tmp_path)
    spool.append([trade(7, 130), trade(8, 70)])
    spool.release()
    slow, told = SlowStore(), list[StoreUnavailable]()
    streams = [Subscription("BTCUSDT", "trade"), Subscription("BTCUSDT", "kline_1m")]
    newest, owed = remembered(
        [slow], "binance", streams, NOW, "rest", HOUR, spools=[tmp_path], absent=told.append, within=0.2
    )
    slow.answers.set()
    assert newest == trade(8, 70)
    assert isinstance(owed, Kline)
    assert (owed.interval, owed.close_time + 1) == ("1m", NOW - 3 * MINUTE)
    assert len(told) == 1
