from marketlab.exchanges.contract import Subscription
from marketlab.records import BookSnapshot, BookUpdate, Gap, Kline, Origin, Quote, Ticker, Trade
from marketlab.streams.board import Board


def trade(time: int, received: int, symbol: str = "BTCUSDT", origin: Origin = "stream") -> Trade:
    return Trade("binance", symbol, "1", time, 1.0, 1.0, "buy", received, origin)


def kline(interval: str, closed: bool) -> Kline:
    return Kline(
        "binance", "BTCUSDT", interval, 0, 99, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1.0, closed, 120, "stream"
    )


def ticker(vwap: float | None) -> Ticker:
    return Ticker("binance", "BTCUSDT", 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, None, vwap, None, None, 2, "stream")


def gap(healed_at: int | None) -> Gap:
    return Gap("binance", "BTCUSDT", "trade", 1, 2, None, None, "", healed_at, None, 1, "stream")


def test_records_are_counted_by_stream() -> None:
    board = Board()
    board.add([trade(1, 1), trade(2_000_000, 2_500_000), trade(3, 3, "ETHUSDT"), kline("1m", False), kline("1m", True)])
    board.add([kline("5m", False), ticker(1.0), ticker(None), ticker(None)])
    board.add([BookUpdate("binance", "BTCUSDT", 1, 1, None, 1, [], [], 7, "replay"), gap(None), gap(5)])
    board.add([BookSnapshot("binance", "BTCUSDT", 1, 1, [], [], 1, True, 1, "stream")])
    counts = {
        (symbol, channel): board.status(Subscription(symbol, channel)).records
        for symbol in ("BTCUSDT", "ETHUSDT")
        for channel in ("trade", "kline_1m", "kline_5m", "ticker", "mini_ticker", "book", "quote")
    }
    assert {stream: count for stream, count in counts.items() if count} == {
        ("BTCUSDT", "trade"): 2,
        ("ETHUSDT", "trade"): 1,
        ("BTCUSDT", "kline_1m"): 2,
        ("BTCUSDT", "kline_5m"): 1,
        ("BTCUSDT", "ticker"): 1,
        ("BTCUSDT", "mini_ticker"): 2,
        ("BTCUSDT", "book"): 1,
    }
    assert (board.records, board.gaps, board.healed, board.snapshots, board.last_received) == (13, 1, 1, 1, 1)
    assert (board.count(Trade), board.count(Trade, "ETHUSDT"), board.count(Quote)) == (3, 1, 0)
    assert (board.closed(), board.closed("BTCUSDT"), board.closed("ETHUSDT")) == (1, 1, 0)
    assert (board.total(), board.total("ETHUSDT")) == (10, 1)
    assert board.origins == {"stream", "replay"}
    assert board.last_seen(Subscription("BTCUSDT", "trade")) == 2_500_000
    assert board.last_seen(Subscription("BTCUSDT", "agg_trade")) is None


def test_lag_is_how_far_receipt_is_behind_the_exchange() -> None:
    board = Board()
    board.add([trade(2_000_000, 2_500_000), trade(1, 9_000_000, "ETHUSDT", "replay"), kline("1m", True)])
    board.add([Quote("binance", "BTCUSDT", 1, 5, 1.0, 1.0, 1.0, 1.0, 5, "stream")])
    lags = {channel: board.status(Subscription("BTCUSDT", channel)).lag_s for channel in ("trade", "quote", "kline_1m")}
    assert lags == {"trade": 0.5, "quote": None, "kline_1m": 0.000021}
    assert board.status(Subscription("ETHUSDT", "trade")).lag_s is None


def test_nothing_is_nothing() -> None:
    board = Board()
    board.add([])
    assert (board.records, board.last_received) == (0, None)
