import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from marketlab.clock import ManualClock
from marketlab.exchange_server import ExchangeServer, TapeSource

TRADES, QUOTES = "btcusdt@trade", "btcusdt@bookTicker"

Opened = Callable[..., AbstractAsyncContextManager[tuple[Any, Any, ManualClock]]]


@pytest.fixture
def opened(events: Any, write_tape: Callable[..., Path], connect: Callable[..., Any]) -> Opened:
    path = write_tape([events.trade(1, 0), events.quote(9, 0, "99", "101")])

    @asynccontextmanager
    async def open_server(address: str = "/ws", **options: Any) -> AsyncIterator[Any]:
        clock = ManualClock()
        server = ExchangeServer(TapeSource(path), speed=math.inf, start_after=None, clock=clock)
        async with server, connect(server.ws_url + address, **options) as client:
            yield server, client, clock

    return open_server


def test_subscriptions_come_and_go(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened("/ws") as (server, client, _):
            assert await client.ask("SUBSCRIBE", [TRADES, QUOTES], 1) == {"result": None, "id": 1}
            assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == [TRADES, QUOTES]
            assert await client.ask("UNSUBSCRIBE", [QUOTES, "never@had"], None) == {"result": None, "id": None}
            assert server.status()["subscriptions"] == 1
            server.begin()
            await client.until(lambda client: any("t" in message for message in client.messages))
            assert sum("t" in message or "u" in message for message in client.messages) == 1
        assert server.status()["subscriptions"] == 0

    asyncio.run(scenario())


def test_whether_frames_name_their_stream_is_a_property(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened(f"/ws/{TRADES}") as (server, client, clock):
            assert (await client.ask("GET_PROPERTY", ["combined"]))["result"] is False
            assert (await client.ask("SET_PROPERTY", ["combined", True], "set"))["result"] is None
            assert (await client.ask("GET_PROPERTY", ["combined"], "then"))["result"] is True
            await clock.advance(1)
            server.begin()
            await client.until(lambda client: len(client.of(TRADES)) == 1)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("{", 3, "Invalid JSON"),
        ("[]", 2, "missing field `method`"),
        ('{"id":1}', 2, "missing field `method`"),
        ('{"method":"SUBSCRIBE","params":["x"],"id":"much-too-odd"}', 2, "request ID"),
        ('{"method":"SUBSCRIBE","params":["x"],"id":1.5}', 2, "request ID"),
        ('{"method":"JUMP","id":1}', 2, "unknown variant `JUMP`, expected one of `SUBSCRIBE`"),
        ('{"method":"SUBSCRIBE","params":"x","id":1}', 2, "params must be an array"),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "stream names must be strings"),
        ('{"method":"SET_PROPERTY","params":["combined",true,1],"id":1}', 2, "too many parameters"),
        ('{"method":"GET_PROPERTY","params":["combined",1],"id":1}', 2, "too many parameters"),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1, "expected Boolean"),
        ('{"method":"GET_PROPERTY","params":[],"id":1}', 2, "property name must be a string"),
        ('{"method":"GET_PROPERTY","params":["colour"],"id":1}', 0, "Unknown property"),
    ],
)
def test_errors_carry_code_and_words_and_no_stream(opened: Opened, text: str, code: int, words: str) -> None:
    async def scenario() -> None:
        async with opened("/stream") as (_, client, _):
            await client.socket.send_str(text)
            await client.until(lambda client: bool(client.messages))
            answer = client.messages[0]
            assert answer["code"] == code
            assert words in answer["msg"]
            assert "stream" not in answer
            assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == []

    asyncio.run(scenario())


def test_who_sends_more_than_five_messages_a_second_is_disconnected_and_pings_count(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened("/ws") as (_, client, clock):
            for _ in range(3):
                await client.ask("LIST_SUBSCRIPTIONS")
            await clock.advance(1)
            for _ in range(2):
                await client.ask("LIST_SUBSCRIPTIONS")
                await client.socket.ping(b"x")
            await client.ask("LIST_SUBSCRIPTIONS")
            await client.socket.pong(b"")
            assert await client.ended() == 1008

    asyncio.run(scenario())


def test_the_server_pings_and_a_pong_that_copies_its_payload_keeps_the_connection(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened("/ws", autoping=False) as (server, client, clock):
            await client.ask("LIST_SUBSCRIPTIONS")
            for number in range(1, 6):
                await clock.advance(20)
                await client.until(lambda client, number=number: len(client.pings) == number)
                await client.socket.pong(client.pings[-1])
                await client.ask("LIST_SUBSCRIPTIONS", identity=number)
            assert server.status()["clients"] == 1
            await client.socket.pong(b"unsolicited")
            for _ in range(3):
                await clock.advance(20)
                await client.ask("LIST_SUBSCRIPTIONS", identity=f"{_}")
            await clock.advance(20)
            assert await client.ended() == 1008

    asyncio.run(scenario())


def test_a_clients_ping_is_answered(opened: Opened, connect: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with opened("/ws", autoping=False) as (_, client, _):
            await client.socket.ping(b"hello")
            await client.ask("LIST_SUBSCRIPTIONS")
            assert client.pongs == [b"hello"]

    asyncio.run(scenario())
