import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from marketlab.clock import SystemClock
from marketlab.errors import ExchangeError
from marketlab.exchanges.binance import Binance
from marketlab.market.market import Need
from marketlab.records import AggTrade, BookSnapshot, Kline, Record, Trade
from marketlab.streams.backoff import Backoff
from marketlab.streams.healing import Healer
from marketlab.streams.rest import Rest

QUICK = Backoff(first=0.001, ceiling=0.002)
MINUTE = 60_000_000
MINUTE_MS = 60_000


async def silence(visit: Any) -> None:
    await visit.gone.wait()


def numbers(request: web.Request) -> tuple[int, int]:
    return int(request.query["fromId"]), int(request.query["limit"])


def agg_trade(number: int) -> dict[str, Any]:
    return {"a": number, "p": "1", "q": "1", "f": number, "l": number, "T": number, "m": False}


def trade(number: int) -> dict[str, Any]:
    return {"id": number, "price": "1", "qty": "1", "time": number, "isBuyerMaker": True}


def kline(minute: int) -> list[Any]:
    return [minute * MINUTE_MS, *["1"] * 5, minute * MINUTE_MS + 59_999, "1", 1, "1", "1", "0"]


class Healing:
    """A healer that asks a small exchange, and what came of it."""

    def __init__(self, rest: Rest) -> None:
        self.records: list[Record] = []
        self.mishaps: list[ExchangeError] = []
        self.ended: list[asyncio.Task[None]] = []
        self.again: Callable[[list[Record]], None] = lambda _: None
        self.healer = Healer(
            Binance(),
            rest,
            clock=SystemClock(),
            random=lambda: 0.0,
            backoff=QUICK,
            accept=self.accept,
            mishap=self.mishaps.append,
            ended=self.ended.append,
            depth=100,
        )

    def accept(self, records: list[Record]) -> None:
        self.records += records
        self.again(records)

    async def meet(self, *needs: Need) -> None:
        for need in needs:
            self.healer.ask(need)
        async with asyncio.timeout(20):
            while self.healer.tasks:
                await asyncio.wait(set(self.healer.tasks))
                await asyncio.sleep(0)


def heal(small_exchange: Any, answer: Any, test: Callable[[Healing, Any], Any]) -> None:
    async def scenario() -> None:
        async with (
            small_exchange(silence, answer) as exchange,
            Rest(Binance(), url=exchange.rest_url, backoff=QUICK) as rest,
        ):
            await test(Healing(rest), exchange)

    asyncio.run(scenario())


def test_a_long_hole_in_trade_ids_is_fetched_page_by_page(small_exchange: Any) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        first, limit = numbers(request)
        return web.json_response([trade(number) for number in range(first, first + limit + 5)])

    async def test(healing: Healing, exchange: Any) -> None:
        await healing.meet(Need("trades", "BTCUSDT", from_id="11", to_id="2510"))
        ids = [int(record.trade_id) for record in healing.records if isinstance(record, Trade)]
        assert ids == list(range(11, 2511))
        assert len(exchange.asked) == 3
        assert {record.origin for record in healing.records} == {"rest"}
        assert len(healing.ended) == 1

    heal(small_exchange, answer, test)


def test_what_is_not_there_yet_is_asked_for_again_from_where_it_broke_off(small_exchange: Any) -> None:
    asked: list[tuple[int, int]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        first, limit = numbers(request)
        asked.append((first, limit))
        known = range(first, min(first + limit, 3 + 2 * len(asked)))
        return web.json_response([agg_trade(number) for number in known])

    async def test(healing: Healing, _: Any) -> None:
        await healing.meet(Need("agg_trades", "BTCUSDT", from_id="1", to_id="8"))
        ids = [int(record.agg_id) for record in healing.records if isinstance(record, AggTrade)]
        assert ids == list(range(1, 9))
        assert asked[0] == (1, 8)

    heal(small_exchange, answer, test)


def test_what_never_comes_is_given_up(small_exchange: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"code": -1, "msg": "no"}, status=400)

    async def test(healing: Healing, exchange: Any) -> None:
        await healing.meet(Need("trades", "BTCUSDT", from_id="1", to_id="8"))
        assert healing.records == []
        assert len(healing.mishaps) == len(exchange.asked) == 5
        assert "Could not fetch back trades of BTCUSDT: it stays a gap." in caplog.text

    heal(small_exchange, answer, test)


def test_missing_klines_come_back_over_several_pages_and_only_closed_ones(small_exchange: Any) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        start, end = int(request.query["startTime"]), int(request.query["endTime"])
        minutes = range(-(-start // MINUTE_MS), end // MINUTE_MS + 1)
        return web.json_response([kline(minute) for minute in minutes[:1000]])

    async def test(healing: Healing, exchange: Any) -> None:
        need = Need("klines", "BTCUSDT", "1m", start=10 * MINUTE, end=1510 * MINUTE + 1)
        await healing.meet(need)
        times = [record.open_time // MINUTE for record in healing.records if isinstance(record, Kline)]
        assert times[:1500] == list(range(10, 1510))
        assert all(record.closed for record in healing.records if isinstance(record, Kline))
        assert len(exchange.asked) == 2

    heal(small_exchange, answer, test)


def test_klines_that_the_exchange_does_not_have_are_given_up(small_exchange: Any) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response([])

    async def test(healing: Healing, exchange: Any) -> None:
        await healing.meet(Need("klines", "BTCUSDT", "1m", start=0, end=MINUTE + 1))
        assert healing.records == []
        assert len(exchange.asked) == 5

    heal(small_exchange, answer, test)


def test_a_book_is_asked_for_until_its_snapshot_fits(small_exchange: Any) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"lastUpdateId": 1, "bids": [], "asks": []})

    async def test(healing: Healing, exchange: Any) -> None:
        need = Need("book", "BTCUSDT", from_id="9")

        def too_old(_: list[Record]) -> None:
            if len(healing.records) < 3:
                healing.healer.ask(need)

        healing.again = too_old
        await healing.meet(need, need)
        assert [type(record) for record in healing.records] == [BookSnapshot] * 3
        assert exchange.asked == ["/api/v3/depth?symbol=BTCUSDT&limit=100"] * 3
        healing.records.clear()
        healing.again = lambda _: None
        await healing.meet(need)
        assert len(healing.records) == 1

    heal(small_exchange, answer, test)


def test_a_ban_is_waited_out(small_exchange: Any) -> None:
    replies = [
        web.json_response({}, status=418, headers={"Retry-After": "0"}),
        web.json_response({"lastUpdateId": 1, "bids": [], "asks": []}),
    ]

    async def answer(_: web.Request) -> web.StreamResponse:
        return replies.pop(0)

    async def test(healing: Healing, _: Any) -> None:
        await healing.meet(Need("book", "BTCUSDT"))
        assert len(healing.records) == 1
        assert "banned this address" in str(healing.mishaps[0])

    heal(small_exchange, answer, test)
