import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from marketlab.clock import ManualClock
from marketlab.exchange_server import ExchangeServer, TapeSource

ONE = "1.00000000"

Played = Callable[[], AbstractAsyncContextManager[Callable[..., Any]]]


@pytest.fixture
def played(events: Any, write_tape: Callable[..., Path], get: Callable[..., Any]) -> Played:
    """REST of a small tape that was played to its end, as a function from path and query to (status, headers, body)."""
    path = write_tape(
        [
            events.depth(10, 12, 0, [["99.00000000", ONE], ["98.50000000", ONE]], [["101.00000000", ONE]]),
            events.trade(1, 0, "100.00000000", "2.00000000"),
            events.trade(2, 0, "100.00000000", "1.00000000"),
            events.trade(3, 10_000, "104.00000000", maker=True),
            events.quote(13, 11_000, "99.50000000", "100.50000000"),
            events.trade(4, 61_000, "102.00000000"),
            events.trade(5, 125_000, "98.00000000"),
        ]
    )

    @asynccontextmanager
    async def play() -> AsyncIterator[Callable[..., Any]]:
        server = ExchangeServer(TapeSource(path), speed=math.inf, start_after=None, clock=ManualClock())
        async with server:
            server.begin()
            await server.done.wait()

            async def ask(request: str, **headers: str) -> Any:
                return await get(f"{server.rest_url}/api/v3/{request}", **headers)

            yield ask

    return play


def answers(played: Played, *requests: str, **headers: str) -> list[Any]:
    async def scenario() -> list[Any]:
        async with played() as ask:
            return [(await ask(request, **headers))[2] for request in requests]

    return asyncio.run(scenario())


def test_klines(played: Played, events: Any) -> None:
    minute = events.minute
    base = "klines?symbol=BTCUSDT&interval=1m"
    whole, first, middle, newest, shown, micros = answers(
        played,
        base,
        f"{base}&startTime={minute}&limit=1",
        f"{base}&startTime={minute + 1}&endTime={(minute + 60_000) * 1000}",
        f"{base}&limit=2",
        "uiKlines?symbol=BTCUSDT&interval=3m&timeZone=0",
        f"{base}&startTime={minute * 1000}",
    )
    assert whole[0] == [
        minute,
        "100.00000000",
        "104.00000000",
        "100.00000000",
        "104.00000000",
        "4.00000000",
        minute + 59_999,
        "404.00000000",
        3,
        "3.00000000",
        "300.00000000",
        "0",
    ]
    assert [row[0] - minute for row in whole] == [0, 60_000, 120_000]
    assert first == whole[:1]
    assert middle == whole[1:2]
    assert newest == whole[1:]
    assert micros == whole
    assert [shown[0][at] for at in (1, 2, 3, 4, 8)] == [f"{price}.00000000" for price in (100, 104, 98, 98)] + [5]


def test_trades_and_aggregates(played: Played, events: Any) -> None:
    recent, two, by_id, all_aggregates, one, window, until = answers(
        played,
        "trades?symbol=BTCUSDT",
        "trades?symbol=BTCUSDT&limit=2",
        "historicalTrades?symbol=BTCUSDT&fromId=2&limit=2",
        "aggTrades?symbol=BTCUSDT",
        "aggTrades?symbol=BTCUSDT&fromId=2&limit=1",
        f"aggTrades?symbol=BTCUSDT&startTime={events.minute + 1}&endTime={events.minute + 61_000}",
        f"aggTrades?symbol=BTCUSDT&endTime={events.minute - 1}",
    )
    assert [trade["id"] for trade in recent] == [1, 2, 3, 4, 5]
    assert [trade["id"] for trade in two] == [4, 5]
    assert [trade["id"] for trade in by_id] == [2, 3]
    assert [(row["a"], row["f"], row["l"], row["q"]) for row in all_aggregates[:2]] == [
        (1, 1, 2, "3.00000000"),
        (2, 3, 3, ONE),
    ]
    assert one == all_aggregates[1:2]
    assert window == all_aggregates[1:3]
    assert until == []


def test_tickers(played: Played, events: Any) -> None:
    day, mini, listed, price, prices, quote, average = answers(
        played,
        "ticker/24hr?symbol=BTCUSDT",
        "ticker/24hr?symbol=BTCUSDT&type=MINI",
        'ticker/24hr?symbols=["BTCUSDT"]',
        "ticker/price?symbol=BTCUSDT",
        "ticker/price",
        "ticker/bookTicker?symbol=BTCUSDT",
        "avgPrice?symbol=BTCUSDT",
    )
    assert day == {
        "symbol": "BTCUSDT",
        "priceChange": "-2.00000000",
        "priceChangePercent": "-2.000",
        "weightedAvgPrice": "100.66666666",
        "prevClosePrice": "100.00000000",
        "lastPrice": "98.00000000",
        "lastQty": ONE,
        "bidPrice": "99.50000000",
        "bidQty": ONE,
        "askPrice": "100.50000000",
        "askQty": ONE,
        "openPrice": "100.00000000",
        "highPrice": "104.00000000",
        "lowPrice": "98.00000000",
        "volume": "6.00000000",
        "quoteVolume": "604.00000000",
        "openTime": events.minute,
        "closeTime": events.minute + 125_000,
        "firstId": 1,
        "lastId": 5,
        "count": 5,
    }
    assert listed == [day]
    assert mini.items() <= day.items()
    assert "bidPrice" not in mini
    assert price == {"symbol": "BTCUSDT", "price": "98.00000000"}
    assert prices == [price]
    assert (quote["bidPrice"], quote["askPrice"]) == ("99.50000000", "100.50000000")
    assert average == {"mins": 5, "price": "100.66666666", "closeTime": events.minute + 125_000}


def test_depth_time_and_instruments(played: Played, events: Any) -> None:
    depth, one, time, information, some = answers(
        played,
        "depth?symbol=BTCUSDT",
        "depth?symbol=BTCUSDT&limit=1",
        "time",
        "exchangeInfo",
        "exchangeInfo?symbol=BTCUSDT&showPermissionSets=false",
    )
    assert depth == {
        "lastUpdateId": 12,
        "bids": [["99.00000000", ONE], ["98.50000000", ONE]],
        "asks": [["101.00000000", ONE]],
    }
    assert one["bids"] == depth["bids"][:1]
    assert time == {"serverTime": events.minute + 125_000}
    symbol = information["symbols"][0]
    assert (symbol["symbol"], symbol["baseAsset"], symbol["quoteAsset"]) == ("BTCUSDT", "BTC", "USDT")
    assert symbol["filters"][0]["tickSize"] == "0.10000000"
    assert some["symbols"] == information["symbols"]


def test_times_in_microseconds_for_who_asks(played: Played, events: Any) -> None:
    klines, trades, aggregates, day, time = answers(
        played,
        "klines?symbol=BTCUSDT&interval=1m",
        "trades?symbol=BTCUSDT",
        "aggTrades?symbol=BTCUSDT",
        "ticker/24hr?symbol=BTCUSDT",
        "time",
        **{"X-MBX-TIME-UNIT": "MICROSECOND"},
    )
    minute = events.minute * 1000
    assert (klines[0][0], klines[0][6]) == (minute, minute + 59_999_999)
    assert trades[0]["time"] == aggregates[0]["T"] == day["openTime"] == minute
    assert time == {"serverTime": minute + 125_000_000}


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        ("klines?symbol=NOPE&interval=1m", -1121, "Invalid symbol."),
        ("klines?symbol=BTCUSDT&interval=1x", -1120, "Invalid interval."),
        ("klines?symbol=BTCUSDT&interval=1M&timeZone=8", -1130, "timeZone"),
        ("depth", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        (
            "depth?symbol=btcusdt",
            -1100,
            "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.",
        ),
        ("depth?symbol=BTCUSDT&limit=all", -1100, "Illegal characters found in parameter 'limit'"),
        ("depth?symbol=BTCUSDT&level=2", -1104, "read '1' parameter(s) but was sent '2'."),
        ("ticker/price?symbols=BTCUSDT", -1100, "Illegal characters found in parameter 'symbols'"),
        ('ticker/price?symbols=["NOPE"]', -1121, "Invalid symbol."),
        ('ticker/24hr?symbols=["NOPE"]', -1121, "Invalid symbol."),
    ],
)
def test_refusals_are_the_exchanges(played: Played, request_: str, code: int, words: str) -> None:
    async def scenario() -> None:
        async with played() as ask:
            status, _, body = await ask(request_)
            assert (status, body["code"]) == (400, code)
            assert words in body["msg"]

    asyncio.run(scenario())


def test_an_unknown_time_unit(played: Played) -> None:
    assert answers(played, "time", **{"X-MBX-TIME-UNIT": "HOUR"})[0]["code"] == -1194


def test_what_requests_weigh(played: Played) -> None:
    many = ",".join(['"BTCUSDT"'] * 21)
    expected = {
        "ping": 1,
        "depth?symbol=BTCUSDT": 5,
        "depth?symbol=BTCUSDT&limit=500": 25,
        "depth?symbol=BTCUSDT&limit=1000": 50,
        "depth?symbol=BTCUSDT&limit=5000": 250,
        "trades?symbol=BTCUSDT": 25,
        "historicalTrades?symbol=BTCUSDT": 25,
        "aggTrades?symbol=BTCUSDT": 4,
        "klines?symbol=BTCUSDT&interval=1m": 2,
        "ticker/24hr?symbol=BTCUSDT": 2,
        f"ticker/24hr?symbols=[{many}]": 40,
        "ticker/24hr": 80,
        "ticker/price?symbol=BTCUSDT": 2,
        "ticker/bookTicker": 4,
        "exchangeInfo": 20,
    }

    async def scenario() -> None:
        async with played() as ask:
            shown = {request: int((await ask(request))[1]["X-MBX-USED-WEIGHT-1M"]) for request in expected}
            assert list(shown.values()) == list(itertools.accumulate(expected.values()))

    asyncio.run(scenario())


def test_before_the_first_trade(events: Any, write_tape: Callable[..., Path], get: Callable[..., Any]) -> None:
    path = write_tape([events.depth(10, 12, 0, [["99.00000000", ONE]], [["101.00000000", ONE]])])

    async def scenario() -> None:
        async with ExchangeServer(TapeSource(path), speed=math.inf, start_after=None) as server:
            api = f"{server.rest_url}/api/v3"
            server.begin()
            await server.done.wait()
            assert (await get(f"{api}/ticker/24hr?symbol=BTCUSDT"))[2]["lastPrice"] == "0.00000000"
            assert (await get(f"{api}/ticker/price?symbol=BTCUSDT"))[2]["price"] == "0.00000000"
            assert (await get(f"{api}/avgPrice?symbol=BTCUSDT"))[2]["price"] == "0.00000000"
            assert (await get(f"{api}/ticker/bookTicker?symbol=BTCUSDT"))[2]["askPrice"] == "101.00000000"
            assert (await get(f"{api}/aggTrades?symbol=BTCUSDT"))[2] == []

    asyncio.run(scenario())
