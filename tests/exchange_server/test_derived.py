import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marketlab.exchange_server import ExchangeServer, Simulation, TapeSource

ONE = "1.00000000"
NONE = "0.00000000"


def derived_from(path: Path, connect: Callable[..., Any], *streams: str, hold: bool = False) -> dict[str, list[Any]]:
    """What a client gets of these streams over one play."""

    async def scenario() -> dict[str, list[Any]]:
        server = ExchangeServer(TapeSource(path), speed=math.inf, start_after=None, hold=hold)
        async with server, connect(f"{server.ws_url}/stream?streams={'/'.join(streams)}") as client:
            server.begin()
            await server.done.wait()
            await client.ask("LIST_SUBSCRIPTIONS")
            return {stream: client.of(stream) for stream in streams}

    return asyncio.run(scenario())


def test_klines_run_every_two_seconds_and_close_at_once(
    events: Any, write_tape: Callable[..., Path], connect: Callable[..., Any]
) -> None:
    ats = [0, 500, 1_900, 2_100, 4_500, 59_999, 60_100, 61_000, 200_000, 240_000]
    path = write_tape([events.trade(number, at) for number, at in enumerate(ats, 1)])
    klines = derived_from(path, connect, "btcusdt@kline_1m")["btcusdt@kline_1m"]
    shown = [
        (data["E"] - events.minute, (data["k"]["t"] - events.minute) // 60_000, data["k"]["n"], data["k"]["x"])
        for data in klines
    ]
    assert shown == [
        (0, 0, 1, False),
        (2_100, 0, 4, False),
        (4_500, 0, 5, False),
        (59_999, 0, 6, False),
        (60_100, 0, 6, True),
        (60_100, 1, 1, False),
        (200_000, 1, 2, True),
        (200_000, 2, 0, True),
        (200_000, 3, 1, False),
        (240_000, 3, 1, True),
        (240_000, 4, 1, False),
    ]


def test_a_minute_closes_by_other_events_a_second_after_it_and_at_the_end_of_the_tape(
    events: Any, write_tape: Callable[..., Path], connect: Callable[..., Any]
) -> None:
    def closed(*depths: int) -> list[int]:
        name = f"{len(depths)}-{depths[-1]}.gz"
        happened = [events.trade(1, 0), *(events.depth(at, at, at) for at in depths)]
        klines = derived_from(write_tape(happened, name), connect, "btcusdt@kline_1m")["btcusdt@kline_1m"]
        return [data["E"] - events.minute for data in klines if data["k"]["x"]]

    assert closed(60_100, 60_900, 61_000, 61_100) == [61_000]
    assert closed(60_100) == [60_100]
    assert closed(59_999) == []


def test_a_minute_with_a_hole_in_its_trades_never_closes(
    events: Any, write_tape: Callable[..., Path], connect: Callable[..., Any]
) -> None:
    path = write_tape([events.trade(number, at) for number, at in [(1, 0), (3, 1_000), (4, 60_000), (5, 120_000)]])
    klines = derived_from(path, connect, "btcusdt@kline_1m")["btcusdt@kline_1m"]
    assert [data["k"]["t"] - events.minute for data in klines if data["k"]["x"]] == [60_000]


def test_aggregates_come_when_they_are_complete(
    events: Any, write_tape: Callable[..., Path], connect: Callable[..., Any]
) -> None:
    happened = [
        events.trade(1, 0, "100.00000000"),
        events.trade(2, 0, "100.00000000", "0.50000000"),
        events.depth(10, 10, 500),
        events.depth(11, 11, 1_000),
        events.trade(3, 1_500, "101.00000000"),
        events.trade(4, 1_600, "102.00000000"),
    ]
    name = "btcusdt@aggTrade"
    aggregates = derived_from(write_tape(happened), connect, name)[name]
    assert [(row["E"] - events.minute, row["a"], row["f"], row["l"]) for row in aggregates] == [
        (1_000, 1, 1, 2),
        (1_600, 2, 3, 3),
        (1_600, 3, 4, 4),
    ]
    assert aggregates[0] == {
        "e": "aggTrade",
        "E": events.minute + 1_000,
        "s": "BTCUSDT",
        "a": 1,
        "p": "100.00000000",
        "q": "1.50000000",
        "f": 1,
        "l": 2,
        "T": events.minute,
        "m": False,
        "M": True,
    }


def test_tickers_come_once_a_second_where_something_traded(
    events: Any, write_tape: Callable[..., Path], connect: Callable[..., Any]
) -> None:
    happened = [
        events.quote(9, 0, "99.00000000", "101.00000000"),
        events.trade(1, 0, "100.00000000"),
        events.trade(2, 400, "104.00000000"),
        events.trade(3, 1_200, "102.00000000"),
        events.depth(10, 10, 2_500),
        events.depth(11, 11, 3_500),
    ]
    names = ["btcusdt@ticker", "btcusdt@miniTicker", "btcusdt@ticker_1h", "!miniTicker@arr"]
    day, mini, hour, array = derived_from(write_tape(happened), connect, *names).values()
    assert [data["E"] - events.minute for data in day] == [0, 1_200]
    assert day[1] == {
        "e": "24hrTicker",
        "E": events.minute + 1_200,
        "s": "BTCUSDT",
        "p": "2.00000000",
        "P": "2.000",
        "w": "102.00000000",
        "x": "100.00000000",
        "c": "102.00000000",
        "Q": ONE,
        "b": "99.00000000",
        "B": ONE,
        "a": "101.00000000",
        "A": ONE,
        "o": "100.00000000",
        "h": "104.00000000",
        "l": "100.00000000",
        "v": "3.00000000",
        "q": "306.00000000",
        "O": events.minute,
        "C": events.minute + 1_200,
        "F": 1,
        "L": 3,
        "n": 3,
    }
    assert mini[1] == {key: day[1][key] for key in "Escohlvq"} | {"e": "24hrMiniTicker"}
    assert (hour[1]["e"], hour[1]["n"], "b" in hour[1]) == ("1hTicker", 3, False)
    assert array == [[data] for data in mini]


def test_partial_books_follow_every_change_of_their_levels(
    events: Any, write_tape: Callable[..., Path], connect: Callable[..., Any]
) -> None:
    levels = [[f"{price}.00000000", ONE] for price in range(90, 100)]
    happened = [
        events.depth(10, 10, 0, levels, [["101.00000000", ONE]]),
        events.trade(1, 50),
        events.depth(11, 11, 100, [["99.00000000", NONE]]),
    ]
    name = "btcusdt@depth5@100ms"
    books = derived_from(write_tape(happened), connect, name)[name]
    assert [(book["lastUpdateId"], book["bids"][0][0], len(book["bids"]), len(book["asks"])) for book in books] == [
        (10, "99.00000000", 5, 1),
        (11, "98.00000000", 5, 1),
    ]


def test_what_the_tape_has_is_passed_on_and_not_built(
    events: Any, write_tape: Callable[..., Path], connect: Callable[..., Any]
) -> None:
    kline = {
        "e": "kline",
        "E": events.minute + 7,
        "s": "BTCUSDT",
        "k": {"t": events.minute, "T": events.minute + 59_999, "s": "BTCUSDT", "i": "1m"},
    }
    path = write_tape([events.trade(1, 0), ("btcusdt@kline_1m", events.minute + 7, kline), events.trade(2, 70_000)])
    assert derived_from(path, connect, "btcusdt@kline_1m")["btcusdt@kline_1m"] == [kline]


@pytest.mark.parametrize("stream", ["nope@kline_1m", "BTCUSDT@kline_1m", "btcusdt@kline_7m", "btcusdt@whatever", "x"])
def test_streams_that_do_not_exist_are_accepted_and_silent(
    events: Any, write_tape: Callable[..., Path], connect: Callable[..., Any], stream: str
) -> None:
    path = write_tape([events.trade(1, 0), events.trade(2, 70_000)])
    assert derived_from(path, connect, stream)[stream] == []


def test_depth_goes_by_both_its_names(
    events: Any, write_tape: Callable[..., Path], connect: Callable[..., Any]
) -> None:
    path = write_tape([events.depth(10, 10, 0, [["99.0", ONE]]), events.depth(11, 11, 100)])
    one, other = derived_from(path, connect, "btcusdt@depth", "btcusdt@depth@100ms").values()
    assert one == other
    assert len(one) == 2


def test_a_kline_that_began_in_the_history_runs_on(connect: Callable[..., Any], get: Callable[..., Any]) -> None:
    async def scenario() -> None:
        source = Simulation(["BTCUSDT"], start="2024-08-09T00:02", duration=30)
        async with ExchangeServer(source, speed=math.inf, start_after=None) as server:
            before = (await get(f"{server.rest_url}/api/v3/klines?symbol=BTCUSDT&interval=5m&limit=1"))[2][0]
            async with connect(f"{server.ws_url}/stream?streams=btcusdt@kline_5m") as client:
                server.begin()
                await server.done.wait()
                await client.ask("LIST_SUBSCRIPTIONS")
                klines = client.of("btcusdt@kline_5m")
        assert {data["k"]["t"] for data in klines} == {before[0]}
        assert {data["k"]["o"] for data in klines} == {before[1]}
        assert klines[-1]["k"]["n"] > klines[0]["k"]["n"] > before[8]
        assert not any(data["k"]["x"] for data in klines)

    asyncio.run(scenario())
