from marketlab.records import BookUpdate, Kline, Quote, Trade
from marketlab.streams.recent import Recent


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
