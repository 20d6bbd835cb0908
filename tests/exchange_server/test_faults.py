import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marketlab.errors import UsageError
from marketlab.exchange_server import FAULTS, ExchangeServer, TapeSource
from marketlab.exchange_server.faults import Faults

PATH = "/stream?streams=btcusdt@trade"


@pytest.fixture
def faulty(events: Any, write_tape: Callable[..., Path]) -> Callable[..., ExchangeServer]:
    path = write_tape([events.trade(number, number) for number in range(1, 301)])

    def make(*faults: str) -> ExchangeServer:
        return ExchangeServer(TapeSource(path), speed=math.inf, start_after=None, faults=faults, fault_every=100)

    return make


def test_malformed_frames_come_in_between_and_nothing_is_lost(
    faulty: Callable[..., ExchangeServer], connect: Callable[..., Any]
) -> None:
    async def scenario() -> None:
        server = faulty("malformed-frames")
        async with server, connect(server.ws_url + PATH) as client:
            server.begin()
            await server.done.wait()
            await client.ask("LIST_SUBSCRIPTIONS")
            assert [trade["t"] for trade in client.of("btcusdt@trade")] == list(range(1, 301))
            assert len(client.texts) == 300 + 3 + 1
            with pytest.raises(json.JSONDecodeError):
                json.loads(client.texts[99])

    asyncio.run(scenario())


def test_a_hole_is_in_the_stream_only(
    faulty: Callable[..., ExchangeServer], connect: Callable[..., Any], get: Callable[..., Any]
) -> None:
    async def scenario() -> None:
        server = faulty("hole")
        async with server, connect(server.ws_url + PATH) as client:
            server.begin()
            await server.done.wait()
            await client.ask("LIST_SUBSCRIPTIONS")
            missing = set(range(1, 301)) - {trade["t"] for trade in client.of("btcusdt@trade")}
            assert missing == {*range(101, 121), *range(201, 221)}
            trades = (await get(f"{server.rest_url}/api/v3/historicalTrades?symbol=BTCUSDT&fromId=101&limit=20"))[2]
            assert [trade["id"] for trade in trades] == list(range(101, 121))

    asyncio.run(scenario())


def test_connections_drop(faulty: Callable[..., ExchangeServer], connect: Callable[..., Any]) -> None:
    async def scenario() -> None:
        server = faulty("drop-connection")
        async with server, connect(server.ws_url + PATH) as client:
            server.begin()
            assert await client.ended() == 1006

    asyncio.run(scenario())


def test_stalled_connections_stay_open_and_new_ones_work(
    faulty: Callable[..., ExchangeServer], connect: Callable[..., Any]
) -> None:
    async def scenario() -> None:
        server = faulty("stall")
        async with server, connect(server.ws_url + PATH) as stalled:
            server.begin()
            await server.done.wait()
            async with connect(server.ws_url + PATH) as fresh:
                assert (await fresh.ask("LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade"]
                assert server.status()["clients"] == 2
                assert len(stalled.messages) < 300

    asyncio.run(scenario())


def test_unknown_faults_are_named() -> None:
    with pytest.raises(UsageError, match=f"no fault 'fire'; choose among {', '.join(FAULTS)}"):
        Faults(["stall", "fire"])
    with pytest.raises(UsageError, match="every 21 frames or less often"):
        Faults(["stall"], 20)
