import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from marketlab.clock import ManualClock
from marketlab.errors import TapeError, UsageError
from marketlab.exchange_server import ExchangeServer, Limits, Simulation, TapeSource

TRADES, QUOTES, DEPTHS = "btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"
ALL = f"/stream?streams={TRADES}/{QUOTES}/{DEPTHS}"
ONE = "1.00000000"

Write = Callable[..., Path]


@pytest.fixture
def small(events: Any, write_tape: Write) -> Path:
    return write_tape(
        [
            events.quote(9, 0, "99", "101"),
            events.depth(10, 12, 100, [["99.0", ONE]], [["101.0", ONE]]),
            events.trade(1, 150),
            events.depth(13, 14, 200, [["98.0", ONE]], []),
            events.trade(2, 1_000),
        ]
    )


def at_once(*paths: Path, **options: Any) -> ExchangeServer:
    return ExchangeServer(TapeSource(*paths), speed=math.inf, **options)


def test_every_frame_of_the_tape_comes_once_in_order_combined_and_raw(
    small: Path, events: Any, connect: Callable[..., Any]
) -> None:
    async def scenario() -> None:
        frames = [line.frame.decode() for line in TapeSource(small).lines()]
        async with at_once(small, start_after=None, hold=False) as server:
            async with connect(server.ws_url + ALL) as combined, connect(f"{server.ws_url}/ws/{TRADES}") as raw:
                server.begin()
                await server.done.wait()
                assert (await combined.ask("LIST_SUBSCRIPTIONS"))["result"] == [TRADES, QUOTES, DEPTHS]
                await raw.ask("LIST_SUBSCRIPTIONS")
                assert combined.texts[:-1] == frames
                assert raw.messages[:-1] == [json.loads(frame)["data"] for frame in frames if TRADES in frame]
                assert combined.headers["X-Marketlab-Origin"] == "replay"
            assert repr(server) == "<ExchangeServer of TapeSource('tape.gz')>"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "path",
    [
        f"/stream?streams={TRADES.replace('@', '%40')}%2F{QUOTES}",
        f"/ws/{TRADES}/{QUOTES}",
        f"/ws/{TRADES.replace('@', '%40')}%2F{QUOTES}",
    ],
)
def test_streams_may_be_listed_and_encoded_in_the_address(small: Path, connect: Callable[..., Any], path: str) -> None:
    async def scenario() -> None:
        async with at_once(small) as server, connect(server.ws_url + path) as client:
            assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == [TRADES, QUOTES]

    asyncio.run(scenario())


@pytest.mark.parametrize("unit", ["MICROSECOND", "microsecond"])
def test_times_in_microseconds_for_who_asks(small: Path, connect: Callable[..., Any], events: Any, unit: str) -> None:
    async def scenario() -> None:
        async with at_once(small, hold=False, start_after=None) as server:
            async with (
                connect(f"{server.ws_url}{ALL}&timeUnit={unit}") as micros,
                connect(server.ws_url + ALL) as millis,
            ):
                server.begin()
                await server.done.wait()
                for client, factor in ((micros, 1000), (millis, 1)):
                    await client.ask("LIST_SUBSCRIPTIONS")
                    trade = client.of(TRADES)[0]
                    assert trade["T"] == trade["E"] == (events.minute + 150) * factor
                    assert client.of(DEPTHS)[0]["E"] == (events.minute + 100) * factor
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{server.rest_url}/ws?timeUnit=SECOND") as answer,
            ):
                assert (answer.status, (await answer.json(content_type=None))["code"]) == (400, -1194)

    asyncio.run(scenario())


def test_it_starts_when_subscriptions_have_been_quiet_or_when_told_to(
    small: Path, connect: Callable[..., Any], get: Callable[..., Any]
) -> None:
    async def scenario() -> None:
        async with at_once(small, start_after=0.05) as server, connect(f"{server.ws_url}/ws") as client:
            status = (await get(f"{server.rest_url}/control/status"))[2]
            assert (status["state"], status["clients"], status["subscriptions"]) == ("waiting", 1, 0)
            await client.ask("SUBSCRIBE", [TRADES])
            await server.done.wait()
            await client.until(lambda client: len(client.messages) == 3)
        async with at_once(small, start_after=None) as server, aiohttp.ClientSession() as session:
            async with session.post(f"{server.rest_url}/control/start") as answer:
                assert answer.status == 200
            await server.done.wait()
            status = (await get(f"{server.rest_url}/control/status"))[2]
            assert (status["state"], status["played"], status["symbols"]) == ("done", 5, ["BTCUSDT"])
            assert (status["origin"], status["speed"]) == ("replay", "max")

    asyncio.run(scenario())


def test_the_pace_is_that_of_the_tape(small: Path, connect: Callable[..., Any]) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        server = ExchangeServer(TapeSource(small), speed=2.0, start_after=None, clock=clock)
        async with server, connect(f"{server.ws_url}/stream?streams={TRADES}") as client:
            server.begin()
            for seconds, expected in ((0.05, []), (0.06, [1]), (0.3, [1]), (0.1, [1, 2])):
                await clock.advance(seconds)
                await client.ask("LIST_SUBSCRIPTIONS")
                assert [trade["t"] for trade in client.of(TRADES)] == expected
                await clock.advance(1e-9)
                client.messages = [message for message in client.messages if "stream" in message]

    asyncio.run(scenario())


def snapshot(last: int) -> Any:
    return {"lastUpdateId": last, "bids": [["99.00000000", ONE]], "asks": [["101.00000000", ONE]]}


@pytest.fixture
def with_snapshot(events: Any, write_tape: Write) -> Path:
    depths = [events.depth(first, first + 1, first, [[f"{first}.0", ONE]]) for first in range(10, 20, 2)]
    return write_tape([*depths[:2], (14, snapshot(14)), *depths[2:], events.trade(1, 50)])


def test_it_waits_for_the_snapshot_of_a_followed_book_at_the_first_frame_after_it(
    with_snapshot: Path, connect: Callable[..., Any], get: Callable[..., Any]
) -> None:
    async def scenario() -> None:
        server = at_once(with_snapshot, start_after=0.01)
        async with server, connect(f"{server.ws_url}/stream?streams={DEPTHS}/{TRADES}") as client:
            await client.until(lambda client: len(client.of(DEPTHS)) == 3)
            assert server.status()["state"] == "holding for BTCUSDT"
            assert client.of(DEPTHS)[-1]["U"] == 14
            url = f"{server.rest_url}/api/v3/depth?symbol=BTCUSDT&limit=5000"
            assert (await get(url))[2] == snapshot(14)
            await server.done.wait()
            await client.until(lambda client: len(client.of(TRADES)) == 1)
            assert [data["U"] for data in client.of(DEPTHS)] == [10, 12, 14, 16, 18]
            running = (await get(url))[2]
            assert (running["lastUpdateId"], len(running["bids"])) == (19, 4)

    asyncio.run(scenario())


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("tape", ["ethusdt_20240808.gz", "ethusdt_20240809.gz"])
def test_books_follow_whether_the_snapshot_was_asked_before_the_socket_or_after_its_first_frame(
    tapes: Path, tape: str, order: str, connect: Callable[..., Any], get: Callable[..., Any]
) -> None:
    async def scenario() -> None:
        async with at_once(tapes / tape) as server:
            url = f"{server.rest_url}/api/v3/depth?symbol=ETHUSDT&limit=5000"
            last = (await get(url))[2]["lastUpdateId"] if order == "before" else 0
            async with connect(f"{server.ws_url}/ws/ethusdt@depth") as client:
                await client.until(lambda client: bool(client.messages))
                last = last or (await get(url))[2]["lastUpdateId"]
                await server.done.wait()
                await client.ask("LIST_SUBSCRIPTIONS")
                following = [data for data in client.messages[:-1] if data["u"] > last]
                assert len(following) > 3000
                for data in following:
                    assert data["U"] <= last + 1
                    last = data["u"]

    asyncio.run(scenario())


def test_it_does_not_wait_where_told_so_or_where_nobody_follows_the_book_any_more(
    with_snapshot: Path, connect: Callable[..., Any]
) -> None:
    async def scenario() -> None:
        server = at_once(with_snapshot, start_after=0.01, hold=False)
        async with server, connect(f"{server.ws_url}/ws/{DEPTHS}"):
            await server.done.wait()
        async with at_once(with_snapshot, start_after=0.01) as server:
            async with connect(f"{server.ws_url}/ws/btcusdt@depth") as client:
                await client.until(lambda client: len(client.messages) == 3)
                assert server.status()["state"] == "holding for BTCUSDT"
            await server.done.wait()

    asyncio.run(scenario())


def test_a_late_client_joins_where_the_play_is(small: Path, connect: Callable[..., Any]) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        server = ExchangeServer(TapeSource(small), start_after=None, clock=clock)
        async with server, connect(f"{server.ws_url}/stream?streams={TRADES}") as first:
            server.begin()
            await clock.advance(0.5)
            await first.until(lambda client: len(client.of(TRADES)) == 1)
            async with connect(f"{server.ws_url}/stream?streams={TRADES}") as second:
                await second.ask("LIST_SUBSCRIPTIONS")
                await clock.advance(1)
                for client in (first, second):
                    await client.until(lambda client: any(trade["t"] == 2 for trade in client.of(TRADES)))
                assert [trade["t"] for trade in second.of(TRADES)] == [2]
                assert [trade["t"] for trade in first.of(TRADES)] == [1, 2]

    asyncio.run(scenario())


def test_before_the_first_subscription_rest_shows_the_state_at_the_start(
    small: Path, get: Callable[..., Any], events: Any
) -> None:
    async def scenario() -> None:
        async with at_once(small) as server:
            api = f"{server.rest_url}/api/v3"
            assert (await get(f"{api}/depth?symbol=BTCUSDT"))[2] == {"lastUpdateId": 9, "bids": [], "asks": []}
            assert (await get(f"{api}/klines?symbol=BTCUSDT&interval=1m"))[2] == []
            assert (await get(f"{api}/trades?symbol=BTCUSDT"))[2] == []
            assert (await get(f"{api}/time"))[2] == {"serverTime": events.minute + 100}

    asyncio.run(scenario())


def test_a_stopped_server_says_goodbye_and_leaves_nothing_running(small: Path, connect: Callable[..., Any]) -> None:
    async def scenario() -> None:
        server = at_once(small, start_after=None)
        await server.start()
        async with connect(f"{server.ws_url}/ws") as raw, connect(f"{server.ws_url}/stream") as combined:
            await raw.ask("LIST_SUBSCRIPTIONS")
            await combined.ask("LIST_SUBSCRIPTIONS")
            await server.stop()
            assert [await raw.ended(), await combined.ended()] == [1001, 1001]
            assert raw.messages[-1]["e"] == "serverShutdown"
            assert combined.messages[-1] == {"stream": "!serverShutdown", "data": raw.messages[-1]}
        await server.stop()
        assert server.done.is_set()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


@contextlib.asynccontextmanager
async def deaf_client(server: ExchangeServer) -> AsyncIterator[None]:
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=1)
    lines = [f"GET {ALL} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]
    writer.write("\r\n".join(lines).encode())
    await reader.read(1)
    yield
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def test_a_client_that_stopped_reading_holds_the_play_up_until_its_pongs_are_overdue(tapes: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        server = at_once(tapes / "btcusdt_20240809.gz", loop=3, hold=False, start_after=None, clock=clock)
        async with server, deaf_client(server):
            server.begin()
            for _ in range(4):
                assert not server.done.is_set()
                await clock.advance(20)
            await server.done.wait()
            status = server.status()
            assert (status["clients"], status["played"]) == (0, 3 * 58_325 + 2)

    asyncio.run(scenario())


def test_a_client_that_breaks_off_does_not_end_the_play_of_the_others(tapes: Path, connect: Callable[..., Any]) -> None:
    async def scenario() -> None:
        server = at_once(tapes / "btcusdt_20240809.gz", hold=False, start_after=None)
        async with server, connect(f"{server.ws_url}/stream?streams={TRADES}") as client:
            async with deaf_client(server):
                server.begin()
                await client.until(lambda client: bool(client.messages))
            await server.done.wait()
            await client.ask("LIST_SUBSCRIPTIONS")
            assert len(client.of(TRADES)) == 10_147

    asyncio.run(scenario())


def test_a_client_that_does_not_read_does_not_keep_the_server_from_stopping(
    tapes: Path, connect: Callable[..., Any]
) -> None:
    async def scenario() -> None:
        server = at_once(tapes / "btcusdt_20240809.gz", loop=3, hold=False, start_after=None)
        await server.start()
        async with deaf_client(server), connect(f"{server.ws_url}/stream?streams={TRADES}") as client:
            server.begin()
            await client.until(lambda client: bool(client.messages))
            await server.stop()
            await client.ended()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_weights_are_on_every_answer_and_above_the_limit_come_429_and_418(small: Path, get: Callable[..., Any]) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        limits = Limits(weight_per_minute=60, forgiven_requests=1)
        async with at_once(small, limits=limits, clock=clock) as server:
            api = f"{server.rest_url}/api/v3"
            status, headers, _ = await get(f"{api}/ping")
            assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, "1")
            assert headers["X-Marketlab-Origin"] == "replay"
            refused = await get(f"{api}/depth?symbol=NOPE&limit=1000")
            assert (refused[0], refused[1]["X-MBX-USED-WEIGHT-1M"]) == (400, "51")
            status, headers, body = await get(f"{api}/exchangeInfo")
            assert (status, headers["Retry-After"], body["code"]) == (429, "60", -1003)
            assert "Too much request weight used; current limit is 60 request weight per 1 MINUTE" in body["msg"]
            status, headers, body = await get(f"{api}/ping")
            assert (status, headers["Retry-After"], body["code"]) == (418, "120", -1003)
            assert f"IP banned until {clock.now() // 1000 + 120_000}" in body["msg"]

    asyncio.run(scenario())


def test_connection_attempts_and_streams_have_limits(small: Path, connect: Callable[..., Any]) -> None:
    async def scenario() -> None:
        limits = Limits(connections_per_five_minutes=3, streams_per_connection=2)
        async with at_once(small, limits=limits) as server:
            for path, status in ((ALL, 400), ("/ws/a/b/c", 400)):
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    async with connect(server.ws_url + path):
                        pass
                assert caught.value.status == status
            async with connect(f"{server.ws_url}/ws/{TRADES}/{QUOTES}") as client:
                assert (await client.ask("SUBSCRIBE", [DEPTHS]))["code"] == 2
                assert (await client.ask("SUBSCRIBE", [TRADES]))["result"] is None
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with connect(f"{server.ws_url}/ws"):
                    pass
            assert caught.value.status == 429

    asyncio.run(scenario())


def test_a_path_that_does_not_exist(small: Path, get: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with at_once(small) as server:
            assert (await get(f"{server.rest_url}/api/v3/klimes"))[0] == 404
            assert (await get(f"{server.rest_url}/api/v1/ping"))[0] == 404

    asyncio.run(scenario())


def test_mistakes_are_one_sentence(small: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_once(small) as server:
            with pytest.raises(UsageError, match=r"Cannot listen on 127\.0\.0\.1:\d+ \(Address already in use\)"):
                await at_once(small, port=server.port).start()
        with pytest.raises(TapeError, match="no such file"):
            await at_once(tmp_path / "none.gz").start()
        with pytest.raises(UsageError, match="speed must be above 0, not 0"):
            ExchangeServer(TapeSource(small), speed=0)

    asyncio.run(scenario())


def test_a_looped_tape_is_one_longer_stream(small: Path, connect: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with at_once(small, loop=3) as server, connect(f"{server.ws_url}/stream?streams={TRADES}") as client:
            await server.done.wait()
            await client.ask("LIST_SUBSCRIPTIONS")
            assert [trade["t"] for trade in client.of(TRADES)] == [1, 2, 3, 4, 5, 6]

    asyncio.run(scenario())


def test_a_simulation_is_marked_and_gives_five_closed_minutes_after_a_history(
    connect: Callable[..., Any], get: Callable[..., Any]
) -> None:
    async def scenario() -> None:
        source = Simulation(["BTCUSDT"], duration=300)
        async with ExchangeServer(source, speed=math.inf) as server:
            api = f"{server.rest_url}/api/v3"
            _, headers, history = await get(f"{api}/klines?symbol=BTCUSDT&interval=1m&limit=1000")
            assert headers["X-Marketlab-Origin"] == "simulated"
            assert len(history) == 1000
            async with connect(f"{server.ws_url}/stream?streams=btcusdt@kline_1m") as client:
                assert client.headers["X-Marketlab-Origin"] == "simulated"
                await server.done.wait()
                await client.ask("LIST_SUBSCRIPTIONS")
                klines = [data["k"] for data in client.of("btcusdt@kline_1m")]
            closed = {kline["t"]: kline for kline in klines if kline["x"]}
            assert len(closed) == 5
            after = (await get(f"{api}/klines?symbol=BTCUSDT&interval=1m&limit=7"))[2]
            assert after[0] == history[-1]
            rest = {row[0]: [row[1], row[2], row[3], row[4], row[5], row[7], row[8]] for row in after}
            assert {at: [k[key] for key in "ohlcvqn"] for at, k in closed.items()} == {at: rest[at] for at in closed}
            assert closed[after[1][0]]["f"] == 10_000_000

    asyncio.run(scenario())
