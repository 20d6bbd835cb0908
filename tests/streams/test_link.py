import asyncio
import json
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
import pytest
from aiohttp import web

from marketlab.errors import Rejected
from marketlab.exchanges.binance import Binance, BinanceSession
from marketlab.exchanges.contract import Connection, Fetch, Limits, Output, Request, Subscription
from marketlab.records import BookSnapshot, Origin
from marketlab.streams.backoff import Backoff
from marketlab.streams.runner import StreamSettings

BTC = Subscription("BTCUSDT", "trade")
ETH = Subscription("ETHUSDT", "trade")
QUICK = StreamSettings(backoff=Backoff(first=0.001, ceiling=0.01), overlap_s=0.05, handover_s=5.0)
SHUTDOWN = '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}'


def trade(number: int, symbol: str = "BTCUSDT") -> str:
    data = {"e": "trade", "E": number, "s": symbol, "t": number, "p": "1.0", "q": "2.0", "T": number, "m": False}
    return json.dumps({"stream": f"{symbol.lower()}@trade", "data": data}, separators=(",", ":"))


def limits(**changed: Any) -> Limits:
    return msgspec.structs.replace(Binance.limits, **changed)


def test_frames_become_records_and_unreadable_ones_stop_nothing(small_exchange: Any, until: Any, running: Any) -> None:
    sent = [trade(1), "{nonsense", trade(2), '{"code":2,"msg":"Invalid request"}', trade(3)]

    async def talk(visit: Any) -> None:
        await visit.say(*sent)
        await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url) as one:
            await until(lambda: len(one.basin.records) == 3)
            assert one.basin.ids == [1, 2, 3]
            assert one.basin.taped == [text.encode() for text in sent]
            assert [error.frame for error in one.basin.unread] == [b"{nonsense"]
            [refused] = one.basin.mishaps
            assert isinstance(refused, Rejected)
            assert one.runner.first.done()
            assert exchange.visits[0].query.startswith("/stream?streams=btcusdt@trade")
            assert {record.origin for record in one.basin.records} == {"stream"}

    asyncio.run(scenario())


class Lively(Binance):
    limits: ClassVar[Limits] = limits(server_ping_s=0.05, messages_per_second=1000.0)


def test_a_connection_without_a_sign_of_life_is_replaced(small_exchange: Any, until: Any, running: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.say(trade(visit.number))
        await asyncio.sleep(30) if visit.number == 0 else await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange:
            exchange.answers_pings = False
            async with running(exchange.ws_url, exchange=Lively()) as one:
                await until(lambda: 1 in one.basin.ids)
                assert "No sign of life" in str(one.runner.last_error)

    asyncio.run(scenario())


def test_a_quiet_connection_that_answers_pings_is_left_alone(small_exchange: Any, until: Any, running: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url, exchange=Lively()) as one:
            await until(lambda: exchange.visits)
            await asyncio.sleep(0.5)
            assert (len(exchange.visits), one.runner.last_error) == (1, None)

    asyncio.run(scenario())


def test_a_stream_that_is_silent_though_subscribed_is_asked_for_again_and_then_elsewhere(
    small_exchange: Any, until: Any, running: Any
) -> None:
    async def talk(visit: Any) -> None:
        for number in range(10_000):  # BTC flows, ETH never does
            if visit.gone.is_set():
                return
            await visit.say(trade(number))
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        settings = msgspec.structs.replace(QUICK, patience_s={"trade": 0.4})
        async with (
            small_exchange(talk) as exchange,
            running(exchange.ws_url, exchange=Lively(), streams=(BTC, ETH), settings=settings),
        ):
            await until(lambda: len(exchange.visits) == 2)
            asked = [(text["method"], text["params"]) for text in map(json.loads, exchange.visits[0].texts)]
            assert asked == [("UNSUBSCRIBE", ["ethusdt@trade"]), ("SUBSCRIBE", ["ethusdt@trade"])]

    asyncio.run(scenario())


def test_sockets_are_not_read_while_there_is_no_room(small_exchange: Any, until: Any, running: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.say(*map(trade, range(10)))
        await visit.heard.wait()
        await visit.say(*map(trade, range(10, 20)))
        await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url, exchange=Lively()) as one:
            await until(lambda: len(one.basin.ids) == 10)
            one.basin.open.clear()
            more = Subscription("BNBUSDT", "trade")
            link = one.runner.link
            assert link is not None
            link.subscribe([more])
            await asyncio.sleep(0.5)  # longer than the heartbeat's patience: nobody reads, so nobody can be blamed
            assert len(one.basin.ids) <= 20
            assert len(exchange.visits) == 1
            one.basin.open.set()
            await until(lambda: one.basin.ids == list(range(20)))

    asyncio.run(scenario())


def test_a_fetch_never_holds_the_stream_up(small_exchange: Any, until: Any, running: Any) -> None:
    class Asking(BinanceSession):
        def opened(self) -> Any:
            yield Fetch(Binance().snapshot_request("BTCUSDT", 100))

    class AskingExchange(Binance):
        def session(self, connection: Connection, origin: Origin = "stream") -> BinanceSession:
            return Asking(connection, origin)

    async def talk(visit: Any) -> None:
        await visit.say(*map(trade, range(10)))
        await visit.gone.wait()

    async def scenario() -> None:
        gate = asyncio.Event()

        async def answer(_: web.Request) -> web.StreamResponse:
            await gate.wait()
            return web.json_response({"lastUpdateId": 1, "bids": [], "asks": []})

        async with (
            small_exchange(talk, answer) as exchange,
            running(exchange.ws_url, exchange=AskingExchange(), rest_url=exchange.rest_url) as one,
        ):
            await until(lambda: len(one.basin.ids) == 10)
            gate.set()
            await until(lambda: isinstance(one.basin.records[-1], BookSnapshot))

    asyncio.run(scenario())


def test_a_fetch_that_fails_is_a_mishap(small_exchange: Any, until: Any, running: Any) -> None:
    class Asking(BinanceSession):
        def opened(self) -> Any:
            yield Fetch(Request("depth", "/none", (), 1))

    class AskingExchange(Binance):
        def session(self, connection: Connection, origin: Origin = "stream") -> BinanceSession:
            return Asking(connection, origin)

    async def talk(visit: Any) -> None:
        await visit.gone.wait()

    async def scenario() -> None:
        async with (
            small_exchange(talk) as exchange,
            running(exchange.ws_url, exchange=AskingExchange(), rest_url=exchange.rest_url) as one,
        ):
            await until(lambda: one.basin.mishaps)
            assert "nothing here" in str(one.basin.mishaps[0])

    asyncio.run(scenario())


def test_a_mistake_of_ours_ends_it_loudly_and_names_the_frame(small_exchange: Any, running: Any) -> None:
    class Broken(BinanceSession):
        def received(self, frame: bytes, at: int) -> Sequence[Output]:
            raise ZeroDivisionError

    class BrokenExchange(Binance):
        def session(self, connection: Connection, origin: Origin = "stream") -> BinanceSession:
            return Broken(connection, origin)

    async def talk(visit: Any) -> None:
        await visit.say(trade(42))
        await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url, exchange=BrokenExchange()) as one:
            with pytest.raises(ZeroDivisionError) as caught:
                await asyncio.wait_for(one.task, 20)
            assert '"t":42' in caught.value.__notes__[0]

    asyncio.run(scenario())
