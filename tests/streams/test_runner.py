import asyncio
import json
import logging
from typing import Any, ClassVar

import msgspec
import pytest
from aiohttp import web

from marketlab.errors import ConnectionLost, Rejected, UsageError
from marketlab.exchanges.binance import Binance
from marketlab.exchanges.contract import Limits, Subscription
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


def test_a_dropped_connection_is_opened_again(small_exchange: Any, until: Any, running: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.say(trade(visit.number))
        if visit.number == 3:
            await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url) as one:
            await until(lambda: one.basin.ids == [0, 1, 2, 3])
            assert (one.runner.opened, one.runner.reconnects) == (4, 3)
            assert one.runner.up_since is not None
            assert one.runner.down_since is None
            assert isinstance(one.runner.last_error, ConnectionLost)

    asyncio.run(scenario())


def test_the_delays_start_over_only_when_data_has_flowed(
    small_exchange: Any, until: Any, caplog: pytest.LogCaptureFixture, running: Any
) -> None:
    caplog.set_level(logging.INFO, "marketlab.streams")

    async def talk(visit: Any) -> None:
        if visit.number == 3:
            await visit.say(trade(1))
        if visit.number == 5:
            await visit.gone.wait()

    settings = StreamSettings(backoff=Backoff(first=0.1, factor=2.0, ceiling=10.0))

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url, settings=settings):
            await until(lambda: len(exchange.visits) == 6)

    asyncio.run(scenario())
    lost = [record for record in caplog.records if isinstance(record.args, tuple) and len(record.args) == 2]
    assert [record.args[1] for record in lost if isinstance(record.args, tuple)] == [0.1, 0.2, 0.4, 0.1, 0.2]
    # One warning an outage, and the rest for who asks: each is a red line below a notebook's cell.
    assert [record.levelname for record in lost] == ["WARNING", "INFO", "INFO", "WARNING", "INFO"]


def test_a_shutdown_notice_opens_the_next_connection_before_the_old_one_ends(
    small_exchange: Any, until: Any, running: Any
) -> None:
    told: list[tuple[int, bool]] = []

    async def talk(visit: Any) -> None:
        first = 1 if visit.number == 0 else 15  # the new server begins a little behind the old one
        for number in range(first, 1000):
            if visit.gone.is_set():
                return
            await visit.say(trade(number))
            if visit.number == 0 and number == 20:
                await visit.say(SHUTDOWN)
            if visit.number == 1 and number == 15:
                told.append((len(visits), visits[0].gone.is_set()))
            await asyncio.sleep(0.002)

    visits: list[Any] = []

    async def scenario() -> list[int]:
        async with small_exchange(talk) as exchange, running(exchange.ws_url) as one:
            nonlocal visits
            visits = exchange.visits
            await until(lambda: len(visits) == 2 and visits[0].gone.is_set() and len(one.basin.ids) > 100)
            assert one.runner.opened == 2
            seen: list[int] = one.basin.ids
            return seen

    ids = asyncio.run(scenario())
    assert told == [(2, False)]
    fresh = [number for place, number in enumerate(ids) if number not in ids[:place]]
    assert fresh == list(range(1, fresh[-1] + 1))


def test_a_connection_is_replaced_before_its_lifetime_ends(small_exchange: Any, until: Any, running: Any) -> None:
    class ShortLived(Binance):
        limits: ClassVar[Limits] = limits(connection_lifetime_s=0.3, server_ping_s=0.02)

    async def talk(visit: Any) -> None:
        for number in range(10_000):
            if visit.gone.is_set():
                return
            await visit.say(trade(number))
            await asyncio.sleep(0.005)

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url, exchange=ShortLived()) as one:
            await until(lambda: len(exchange.visits) >= 3)
            assert one.runner.last_error is None

    asyncio.run(scenario())


def test_more_and_less_can_be_asked_for_while_it_runs_and_is_remembered(
    small_exchange: Any, until: Any, running: Any
) -> None:
    async def talk(visit: Any) -> None:
        await visit.heard.wait() if visit.number == 0 else await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url, streams=(BTC, ETH)) as one:
            await until(lambda: one.runner.link)
            more = Subscription("BNBUSDT", "trade")
            one.runner.subscribe(Binance().connections([BTC, ETH, more])[0], [more])
            one.runner.unsubscribe(Binance().connections([BTC, more])[0], [ETH])
            await until(lambda: len(exchange.visits) == 2)
            assert json.loads(exchange.visits[0].texts[0])["params"] == ["bnbusdt@trade"]
            assert "bnbusdt@trade/btcusdt@trade" in exchange.visits[1].query

    asyncio.run(scenario())


def test_what_was_asked_for_while_connecting_is_not_forgotten(small_exchange: Any, until: Any, running: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url, streams=(BTC,)) as one:
            await asyncio.sleep(0)  # it is on its way, and nobody has answered yet
            one.runner.subscribe(Binance().connections([BTC, ETH])[0], [ETH])
            await until(lambda: exchange.visits and (exchange.visits[0].texts or "eth" in exchange.visits[0].query))

    asyncio.run(scenario())


def test_it_stops_while_connecting(deaf_port: int, running: Any) -> None:
    async def scenario() -> None:
        async with running(f"ws://127.0.0.1:{deaf_port}") as one:
            await asyncio.sleep(0.05)
            assert one.runner.up_since is None
            assert one.runner.down_since is not None
            assert not one.runner.first.done()

    asyncio.run(scenario())


def test_a_refusal_of_the_first_connection_is_final(small_exchange: Any, running: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange:
            exchange.refuse.append(web.Response(status=403))
            async with running(exchange.ws_url) as one:
                with pytest.raises(Rejected, match="HTTP 403"):
                    await one.runner.first
                with pytest.raises(Rejected):
                    await one.task

    asyncio.run(scenario())


def test_a_wrong_address_is_final(running: Any) -> None:
    async def scenario() -> None:
        async with running("nonsense") as one:
            with pytest.raises(UsageError):
                await one.runner.first
            with pytest.raises(UsageError):
                await one.task

    asyncio.run(scenario())


def test_too_many_connections_waits_as_long_as_the_exchange_says_and_other_hosts_are_tried(
    small_exchange: Any, until: Any, free_port: int, running: Any
) -> None:
    async def talk(visit: Any) -> None:
        await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange:
            exchange.refuse.append(web.Response(status=429, headers={"Retry-After": "0"}))
            hosts = [f"ws://127.0.0.1:{free_port}", exchange.ws_url]
            async with running("", hosts=hosts) as one:
                await one.runner.first
                assert one.runner.failures >= 2
                assert one.runner.url.startswith(exchange.ws_url)

    asyncio.run(scenario())


def test_an_old_connection_stays_until_a_new_one_works(small_exchange: Any, until: Any, running: Any) -> None:
    async def talk(visit: Any) -> None:
        if visit.number in (1, 2):  # these give nothing and hang up
            return
        for number in range(1000):
            if visit.gone.is_set():
                return
            await visit.say(trade(number))
            if visit.number == 0 and number == 5:
                await visit.say(SHUTDOWN)
            await asyncio.sleep(0.005)

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url) as one:
            await until(lambda: len(exchange.visits) == 4 and exchange.visits[0].gone.is_set())
            assert one.runner.opened == 4
            seen = one.basin.ids
            assert seen[: max(seen)] == list(range(max(seen)))  # the old one never stopped

    asyncio.run(scenario())


def test_a_server_that_goes_down_altogether(small_exchange: Any, until: Any, running: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.say(trade(visit.number))
        if visit.number == 0:
            exchange_.refuse += [web.Response(status=503) for _ in range(3)]
            await visit.say(SHUTDOWN)
            await asyncio.sleep(0.02)
        else:
            await visit.gone.wait()

    exchange_: Any = None

    async def scenario() -> None:
        nonlocal exchange_
        async with small_exchange(talk) as exchange:
            exchange_ = exchange
            async with running(exchange.ws_url) as one:
                await until(lambda: one.basin.ids == [0, 1])
                assert one.runner.failures == 3

    asyncio.run(scenario())
