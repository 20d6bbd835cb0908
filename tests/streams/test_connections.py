import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec
import pytest
from aiohttp import web

from marketlab.clock import SystemClock
from marketlab.errors import ConnectionLost, Rejected
from marketlab.exchanges.binance import Binance
from marketlab.exchanges.contract import Limits, Subscription
from marketlab.market.market import Market
from marketlab.streams.backoff import Backoff
from marketlab.streams.connections import Connections
from marketlab.streams.hub import Hub
from marketlab.streams.intake import Intake
from marketlab.streams.rest import Rest
from marketlab.streams.runner import StreamSettings

STREAMS = [Subscription(symbol, "trade") for symbol in ("ADAUSDT", "BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")]
QUICK = StreamSettings(backoff=Backoff(first=0.001, ceiling=0.01), start_timeout_s=5.0)


class Narrow(Binance):
    limits: ClassVar[Limits] = msgspec.structs.replace(Binance.limits, streams_per_connection=2)


async def silence(visit: Any) -> None:
    await visit.gone.wait()


@asynccontextmanager
async def connections(url: str, settings: StreamSettings = QUICK) -> AsyncIterator[tuple[Connections, list[Any]]]:
    ended: list[Any] = []
    exchange, clock = Narrow(), SystemClock()
    async with Rest(exchange, url="http://127.0.0.1:9") as rest:
        several = Connections(
            exchange,
            hosts=[url],
            rest=rest,
            down=Intake(Market("binance"), Hub(), clock, lambda _: None),
            clock=clock,
            random=lambda: 0.0,
            settings=settings,
            ended=ended.append,
        )
        try:
            yield several, ended
        finally:
            for task in several.tasks:
                task.cancel()
            await asyncio.gather(*several.tasks, return_exceptions=True)


def test_streams_split_join_and_leave(small_exchange: Any, until: Any) -> None:
    async def scenario() -> None:
        async with small_exchange(silence) as exchange, connections(exchange.ws_url) as (several, _):
            await several.open(STREAMS[:3])
            assert len(several.runners) == len(exchange.visits) == 2
            assert several.url.startswith(exchange.ws_url + "/stream?streams=adausdt@trade/bnbusdt@trade")
            await several.add(STREAMS[3:4])  # there is room for one more
            assert len(several.runners) == 2
            await until(lambda: exchange.visits[1].texts or exchange.visits[0].texts)
            asked = [json.loads(text)["params"] for visit in exchange.visits for text in visit.texts]
            assert asked == [["ethusdt@trade"]]
            await several.add(STREAMS[4:])
            assert len(several.runners) == 3
            await several.remove({STREAMS[0], STREAMS[4]})
            assert [runner.connection.subscriptions for runner in several.runners] == [
                (STREAMS[1],),
                (STREAMS[2], STREAMS[3]),
            ]
            await until(lambda: sum(visit.gone.is_set() for visit in exchange.visits) == 1)
            assert (several.reconnects, several.failures) == (0, 0)

    asyncio.run(scenario())


def test_if_one_cannot_be_had_none_of_them_stays(small_exchange: Any) -> None:
    async def scenario() -> None:
        async with small_exchange(silence) as exchange, connections(exchange.ws_url) as (several, ended):
            await several.open(STREAMS[:1])
            exchange.refuse.append(web.Response(status=403))
            with pytest.raises(Rejected, match="HTTP 403"):
                await several.open(STREAMS[1:])
            assert [runner.connection.subscriptions for runner in several.runners] == [(STREAMS[0],)]
            assert not [task for task in ended if not task.cancelled()]  # it was told to whoever asked, and that is all
            assert several.failures == 1

    asyncio.run(scenario())


def test_nobody_answers(deaf_port: int) -> None:
    async def scenario() -> None:
        settings = msgspec.structs.replace(QUICK, start_timeout_s=0.1)
        async with connections(f"ws://127.0.0.1:{deaf_port}", settings) as (several, _):
            with pytest.raises(ConnectionLost, match="does not answer; check the address and the network"):
                await several.open(STREAMS[:1])
            assert several.tasks == []

    asyncio.run(scenario())
