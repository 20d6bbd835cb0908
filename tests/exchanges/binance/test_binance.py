"""Binance as data, and its requests and answers."""

import json
from pathlib import Path

import pytest

from marketlab.errors import UnreadableFrame, Unsupported
from marketlab.exchanges.binance import Binance
from marketlab.exchanges.contract import Request, Subscription
from marketlab.records import AggTrade, BookSnapshot, Kline, Ticker, Trade

AT = 1_723_161_700_000_000
MINUTE = 60_000_000


def test_all_sixteen_intervals_and_none_in_another_case() -> None:
    exchange = Binance()
    assert " ".join(exchange.intervals) == "1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M"
    assert (exchange.intervals["1m"], exchange.intervals["1M"]) == (MINUTE, 31 * 24 * 60 * MINUTE)
    for interval in ("1H", "1D", "2d", "1S"):
        with pytest.raises(Unsupported, match="1h, 2h"):
            exchange.check([Subscription("BTCUSDT", f"kline_{interval}")])


def test_paths_of_connections() -> None:
    wanted = [Subscription("BTCUSDT", "kline_1M"), Subscription("BTCUSDT", "book"), Subscription("币USDT", "quote")]
    (connection,) = Binance().connections(wanted)
    streams = "btcusdt@depth@100ms/btcusdt@kline_1M/%E5%B8%81usdt@bookTicker"
    assert connection.path == f"/stream?streams={streams}&timeUnit=MICROSECOND"
    (connection,) = Binance(microseconds=False).connections(wanted[:1])
    assert connection.path == "/stream?streams=btcusdt@kline_1M"


def test_the_channels_of_a_symbol_share_a_connection() -> None:
    channels = ("agg_trade", "book", "quote", "trade", "ticker")
    wanted = [Subscription(f"COIN{n:03}USDT", channel) for channel in channels for n in range(500)]
    connections = Binance().connections(wanted)
    assert [len(connection.subscriptions) for connection in connections] == [1020, 1020, 460]
    homes = [{subscription.symbol for subscription in connection.subscriptions} for connection in connections]
    assert sum(map(len, homes)) == len(set.union(*homes)) == 500


def test_microseconds_are_asked_for_over_rest_too() -> None:
    assert Binance().headers() == {"X-MBX-TIME-UNIT": "MICROSECOND"}
    assert Binance(microseconds=False).headers() == {}


@pytest.mark.parametrize(
    ("depth", "weight"),
    [(1, 5), (100, 5), (101, 25), (500, 25), (501, 50), (1000, 50), (1001, 250), (5000, 250), (9000, 250)],
)
def test_weights_of_snapshots(depth: int, weight: int) -> None:
    request = Binance().snapshot_request("BTCUSDT", depth)
    assert (request.path, request.weight, request.symbol) == ("/api/v3/depth", weight, "BTCUSDT")
    assert request.params == (("symbol", "BTCUSDT"), ("limit", str(min(depth, 5000))))


@pytest.mark.parametrize(("count", "weight"), [(1, 2), (20, 2), (21, 40), (100, 40), (101, 80), (0, 80)])
def test_weights_of_tickers(count: int, weight: int) -> None:
    symbols = [f"COIN{n}USDT" for n in range(count)]
    request = Binance().tickers_request(symbols)
    params = dict(request.params)
    assert (request.path, request.weight) == ("/api/v3/ticker/24hr", weight)
    if count > 1:
        assert json.loads(params["symbols"]) == symbols
    else:
        assert params == ({"symbol": "COIN0USDT"} if count else {})


def test_other_requests() -> None:
    exchange = Binance()
    assert exchange.time_request() == Request("time", "/api/v3/time", (), 1)
    assert exchange.instruments_request() == Request("instruments", "/api/v3/exchangeInfo", (), 20)
    newest = exchange.trades_request("BTCUSDT", limit=5000)
    assert (newest.path, newest.weight, dict(newest.params)["limit"]) == ("/api/v3/trades", 25, "1000")
    older = exchange.trades_request("BTCUSDT", "77", 10)
    assert (older.path, older.weight) == ("/api/v3/historicalTrades", 25)
    assert dict(older.params) == {"symbol": "BTCUSDT", "limit": "10", "fromId": "77"}
    joined = exchange.agg_trades_request("BTCUSDT", "77")
    assert (joined.path, joined.weight, dict(joined.params)["fromId"]) == ("/api/v3/aggTrades", 4, "77")
    assert "fromId" not in dict(exchange.agg_trades_request("BTCUSDT").params)


def test_klines_are_asked_for_until_before_their_end() -> None:
    exchange = Binance()
    request = exchange.klines_request("BTCUSDT", "1M", 60 * MINUTE, 62 * MINUTE, 5000)
    assert (request.path, request.weight, request.interval) == ("/api/v3/klines", 2, "1M")
    assert dict(request.params) == {
        "symbol": "BTCUSDT", "interval": "1M", "limit": "1000", "startTime": "3600000", "endTime": "3719999",
    }  # fmt: skip
    odd = dict(exchange.klines_request("BTCUSDT", "1m", 1, 60 * MINUTE + 1).params)
    assert (odd["startTime"], odd["endTime"]) == ("1", "3600000")
    assert "startTime" not in dict(exchange.klines_request("BTCUSDT", "1m").params)


def test_a_snapshot_answer() -> None:
    exchange = Binance()
    body = b'{"lastUpdateId":7,"bids":[["2.50","1.0"]],"asks":[["2.60","3.0"]]}'
    assert exchange.answer(exchange.snapshot_request("BTCUSDT", 100), body, AT) == [
        BookSnapshot("binance", "BTCUSDT", 7, AT, [(2.5, 1.0)], [(2.6, 3.0)], 100, True, AT, "rest")
    ]


def kline_rows(*open_times: int) -> bytes:
    row = '[{},"1.0","4.0","0.5","2.0","10.0",{},"20.0",3,"4.0","8.0","0"]'
    return f"[{','.join(row.format(time, time + 59_999) for time in open_times)}]".encode()


def test_klines_answers_tell_which_are_closed() -> None:
    exchange = Binance()
    request = exchange.klines_request("BTCUSDT", "1m")
    body = kline_rows(1723161600000, 1723161660000)
    first, last = exchange.answer(request, body, AT)
    assert first == Kline(
        "binance", "BTCUSDT", "1m", 1723161600000000, 1723161659999999, 1.0, 4.0, 0.5, 2.0, 10.0, 20.0, 3, 4.0, 8.0,
        True, AT, "rest",
    )  # fmt: skip
    assert isinstance(last, Kline)
    assert not last.closed
    (_, late) = exchange.answer(request, body, 1723161720000000)
    (_, replayed) = exchange.answer(request, body, 1723161720000000, "replay")
    assert isinstance(late, Kline)
    assert isinstance(replayed, Kline)
    assert (late.closed, replayed.closed) == (True, False)
    assert exchange.answer(request, b"[]", AT) == []


def test_answers_of_trades_and_tickers() -> None:
    exchange = Binance()
    body = b'[{"id":5,"price":"1.5","qty":"2","quoteQty":"3","time":1723161601437,"isBuyerMaker":false}]'
    assert exchange.answer(exchange.trades_request("BTCUSDT"), body, AT) == [
        Trade("binance", "BTCUSDT", "5", 1723161601437000, 1.5, 2.0, "buy", AT, "rest")
    ]
    body = b'[{"a":5,"p":"1.5","q":"2","f":1,"l":3,"T":1723161601437000,"m":true,"M":true}]'
    assert exchange.answer(exchange.agg_trades_request("BTCUSDT"), body, AT, "replay") == [
        AggTrade("binance", "BTCUSDT", "5", 1723161601437000, 1.5, 2.0, "sell", "1", "3", AT, "replay")
    ]
    one = (
        '{"symbol":"BTCUSDT","priceChange":"-1.5","priceChangePercent":"-0.1","weightedAvgPrice":"2.5",'
        '"prevClosePrice":"1","lastPrice":"3","lastQty":"1","bidPrice":"1","bidQty":"1","askPrice":"1","askQty":"1",'
        '"openPrice":"4","highPrice":"5","lowPrice":"1","volume":"6","quoteVolume":"7","openTime":1,'
        '"closeTime":1723161601437,"firstId":1,"lastId":2,"count":2}'
    )
    ticker = Ticker(
        "binance", "BTCUSDT", 1723161601437000, 3.0, 4.0, 5.0, 1.0, 6.0, 7.0, 2, 2.5, -1.5, -0.1, AT, "rest"
    )
    request = exchange.tickers_request(["BTCUSDT"])
    assert exchange.answer(request, one.encode(), AT) == [ticker]
    assert exchange.answer(request, f"[{one},{one}]".encode(), AT) == [ticker, ticker]


def test_an_answer_without_records() -> None:
    with pytest.raises(Unsupported, match="instruments"):
        Binance().answer(Binance().instruments_request(), b"{}", AT)


@pytest.mark.parametrize("told", [b"1723161601437", b"1723161601437000"])
def test_the_time_in_either_unit(told: bytes) -> None:
    assert Binance().time(b'{"serverTime":%b}' % told) == 1723161601437000


def test_refusals() -> None:
    exchange = Binance()
    assert exchange.refusal(400, b'{"code":-1121,"msg":"Invalid symbol."}') == (-1121, "Invalid symbol.")
    assert exchange.refusal(403, b"\xffforbidden") == (403, "�forbidden")


def test_the_real_instrument_list(sample: Path) -> None:
    body = (sample / "BINANCE.0").read_bytes().partition(b": ")[2].splitlines()[0]
    instruments = {instrument.symbol: instrument for instrument in Binance().instruments(body)}
    assert len(instruments) > 1000
    bitcoin = instruments["BTCUSDT"]
    assert (bitcoin.native, bitcoin.base, bitcoin.quote, bitcoin.kind) == ("BTCUSDT", "BTC", "USDT", "spot")
    assert (bitcoin.tick, bitcoin.step, bitcoin.trading) == (0.01, 0.00001, True)
    assert not all(instrument.trading for instrument in instruments.values())
    with pytest.raises(UnreadableFrame):
        Binance().instruments(body[:1000])


def test_an_instrument_without_filters() -> None:
    body = b'{"symbols":[{"symbol":"AB","status":"BREAK","baseAsset":"A","quoteAsset":"B","filters":[]}]}'
    (instrument,) = Binance().instruments(body)
    assert (instrument.tick, instrument.step, instrument.trading) == (0.0, 0.0, False)


def test_real_depth_answers(sample: Path) -> None:
    exchange = Binance()
    books = 0
    for line in (sample / "BINANCE.http.0.0").read_bytes().splitlines():
        url, _, rest = line.partition(b" -> ")
        if b"/depth?" in url:
            (book,) = exchange.answer(exchange.snapshot_request("X", 1000), rest.partition(b": ")[2], AT)
            assert isinstance(book, BookSnapshot)
            assert book.bids == sorted(book.bids, reverse=True)
            assert book.asks == sorted(book.asks)
            books += 1
    assert books == 4
