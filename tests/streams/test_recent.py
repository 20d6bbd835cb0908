from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab.records import BookUpdate, Kline, Quote, Trade
from marketlab.streams.recent import Recent, rank


def trade(number: int, symbol: str = "BTCUSDT") -> Trade:
    return Trade("binance", symbol, str(number), number, 1.0, 1.0, "buy", number, "stream")


def kline(open_time: int, count: int, closed: bool, interval: str = "1m") -> Kline:
    times = open_time, open_time + 59
    return Kline(
        "binance", "BTCUSDT", interval, *times, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, count, 1.0, 1.0, closed, 1, "stream"
    )


def test_the_newest_of_each_symbol_are_kept() -> None:
    recent = Recent(keep=3)
    recent.add([trade(number) for number in range(5)])
    recent.add([trade(7, "ETHUSDT"), BookUpdate("binance", "BTCUSDT", 1, 1, None, 1, [], [], 1, "stream")])
    assert recent.records(Trade, "BTCUSDT") == [trade(2), trade(3), trade(4)]
    assert recent.records(Trade, "ETHUSDT") == [trade(7, "ETHUSDT")]
    assert recent.records(Quote, "BTCUSDT") == []
    assert recent.records(BookUpdate, "BTCUSDT") == []


def test_a_running_kline_gives_way_to_a_newer_and_a_closed_one() -> None:
    recent = Recent()
    recent.add([kline(60, 1, False), kline(60, 5, False), kline(60, 9, True), kline(60, 7, False), kline(0, 3, True)])
    recent.add([kline(0, 1, False, "5m")])
    assert recent.klines("BTCUSDT", "1m") == [kline(0, 3, True), kline(60, 9, True)]
    assert recent.klines("BTCUSDT", "5m") == [kline(0, 1, False, "5m")]
    assert recent.klines("ETHUSDT", "1m") == []


def test_klines_are_bounded() -> None:
    recent = Recent()
    recent.add([kline(60 * number, 1, True) for number in range(1100)])
    kept = recent.klines("BTCUSDT", "1m")
    assert (len(kept), kept[0].open_time) == (1000, 6000)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30)), st.integers(0, 40))
def test_the_newest_trades_come_first_by_time_and_id_and_once(numbers: list[int], limit: int) -> None:
    recent = Recent(keep=20)
    # Three have the same time; their ids are not in the order of their letters.
    came = [Trade("binance", "BTCUSDT", str(n), n // 3, 1.0, 1.0, "buy", 1, "stream") for n in numbers]
    recent.add([*came])
    kept = {trade.trade_id: trade for trade in came[-20:]}
    newest = list(islice(recent.newest_trades("BTCUSDT"), limit))
    assert newest == sorted(kept.values(), key=rank, reverse=True)[:limit]


def test_the_newest_trades_are_those_that_were_kept_when_they_were_asked_for() -> None:
    recent = Recent()
    recent.add([trade(1), trade(2)])
    newest = recent.newest_trades("BTCUSDT")
    recent.add([trade(3)])
    assert list(newest) == [trade(2), trade(1)]
    assert list(recent.newest_trades("ETHUSDT")) == []
