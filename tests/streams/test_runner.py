import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec
import pytest
from aiohttp import web

from marketlab.clock import Clock, SystemClock
from marketlab.errors import ConnectionLost, ExchangeError, Rejected, UnreadableFrame, UsageError
from marketlab.exchanges.binance import Binance, BinanceSession
from marketlab.exchanges.contract import Connection, Fetch, Limits, Output, Request, Subscription
from marketlab.records import BookSnapshot, Origin, Record, Trade
from marketlab.streams.backoff import Backoff
from marketlab.streams.pacing import Pace
from marketlab.streams.rest import Rest
from marketlab.streams.runner import Runner, StreamSettings

BTC = Subscription("BTCUSDT", "trade")
ETH = Subscription("ETHUSDT", "trade")
QUICK = StreamSettings(backoff=Backoff(first=0.001, ceiling=0.01), overlap_s=0.05, handover_s=5.0)
SHUTDOWN = '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}'


def trade(number: int, symbol: str = "BTCUSDT") -> str:
    data = {"e": "trade", "E": number, "s": symbol, "t": number, "p": "1.0", "q": "2.0", "T": number, "m": False}
    return json.dumps({"stream": f"{symbol.lower()}@trade", "data": data}, separators=(",", ":"))


def limits(**changed: Any) -> Limits:
    return msgspec.structs.replace(Binance.limits, **changed)


class Basin:
    """Keeps everything that flows down."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.taped: list[bytes] = []
        self.unread: list[UnreadableFrame] = []
        self.mishaps: list[ExchangeError] = []
        self.open = asyncio.Event()
        self.open.set()

    @property
    def has_room(self) -> bool:
        return self.open.is_set()

    async def room(self) -> None:
        await self.open.wait()

    def tape(self, frames: list[bytes], at: int) -> None:
        self.taped += frames

    def accept(self, records: list[Record]) -> None:
        self.records += records

    def unreadable(self, error: UnreadableFrame) -> None:
        self.unread.append(error)

    def mishap(self, error: ExchangeError) -> None:
        self.mishaps.append(error)

    def last_seen(self, stream: Subscription) -> int | None:
        times = [record.received for record in self.records if record.symbol == stream.symbol]
        return max(times, default=None)

    @property
    def ids(self) -> list[int]:
        return [int(record.trade_id) for record in self.records if isinstance(record, Trade)]


class Running:
    def __init__(self, runner: Runner, basin: Basin) -> None:
        self.runner = runner
        self.basin = basin
        self.task = asyncio.create_task(runner.run())


@asynccontextmanager
async def running(
    url: str,
    *,
    exchange: Binance | None = None,
    streams: Sequence[Subscription] = (BTC,),
    settings: StreamSettings = QUICK,
    clock: Clock | None = None,
    rest_url: str = "http://127.0.0.1:9",
    hosts: Iterable[str] = (),
) -> AsyncIterator[Running]:
    exchange, clock, basin = exchange or Binance(), clock or SystemClock(), Basin()
    async with Rest(exchange, url=rest_url, clock=clock) as rest:
        runner = Runner(
            exchange,
            exchange.connections(streams)[0],
            hosts=hosts or [url],
            rest=rest,
            down=basin,
            clock=clock,
            connects=Pace(300, 300.0, clock),
            random=lambda: 0.0,
            settings=settings,
        )
        one = Running(runner, basin)
        try:
            yield one
        finally:
            one.task.cancel()
            await asyncio.wait_for(asyncio.gather(one.task, return_exceptions=True), 10)


def test_frames_become_records_and_unreadable_ones_stop_nothing(small_exchange: Any, until: Any) -> None:
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


def test_a_dropped_connection_is_opened_again(small_exchange: Any, until: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.say(trade(visit.number))
        if visit.number == 3:
            await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url) as one:
            await until(lambda: one.basin.ids == [0, 1, 2, 3])
            assert (one.runner.opened, one.runner.reconnects) == (4, 3)
            assert isinstance(one.runner.last_error, ConnectionLost)

    asyncio.run(scenario())


def test_the_delays_start_over_only_when_data_has_flowed(
    small_exchange: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

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
    waits = [record.args[1] for record in caplog.records if isinstance(record.args, tuple) and len(record.args) == 2]
    assert waits == [0.1, 0.2, 0.4, 0.1, 0.2]


def test_a_shutdown_notice_opens_the_next_connection_before_the_old_one_ends(small_exchange: Any, until: Any) -> None:
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
            return one.basin.ids

    ids = asyncio.run(scenario())
    assert told == [(2, False)]
    fresh = [number for place, number in enumerate(ids) if number not in ids[:place]]
    assert fresh == list(range(1, fresh[-1] + 1))


def test_a_connection_is_replaced_before_its_lifetime_ends(small_exchange: Any, until: Any) -> None:
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


class Lively(Binance):
    limits: ClassVar[Limits] = limits(server_ping_s=0.05, messages_per_second=1000.0)


def test_a_connection_without_a_sign_of_life_is_replaced(small_exchange: Any, until: Any) -> None:
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


def test_a_quiet_connection_that_answers_pings_is_left_alone(small_exchange: Any, until: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url, exchange=Lively()) as one:
            await until(lambda: exchange.visits)
            await asyncio.sleep(0.5)
            assert (len(exchange.visits), one.runner.last_error) == (1, None)

    asyncio.run(scenario())


def test_a_stream_that_is_silent_though_subscribed_is_asked_for_again_and_then_elsewhere(
    small_exchange: Any, until: Any
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


def test_more_and_less_can_be_asked_for_while_it_runs_and_is_remembered(small_exchange: Any, until: Any) -> None:
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


def test_what_was_asked_for_while_connecting_is_not_forgotten(small_exchange: Any, until: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(talk) as exchange, running(exchange.ws_url, streams=(BTC,)) as one:
            await asyncio.sleep(0)  # it is on its way, and nobody has answered yet
            one.runner.subscribe(Binance().connections([BTC, ETH])[0], [ETH])
            await until(lambda: exchange.visits and (exchange.visits[0].texts or "eth" in exchange.visits[0].query))

    asyncio.run(scenario())


def test_sockets_are_not_read_while_there_is_no_room(small_exchange: Any, until: Any) -> None:
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


def test_a_fetch_never_holds_the_stream_up(small_exchange: Any, until: Any) -> None:
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


def test_a_fetch_that_fails_is_a_mishap(small_exchange: Any, until: Any) -> None:
    class AskingExchange(Binance):
        def session(self, connection: Connection, origin: Origin = "stream") -> BinanceSession:
            session = BinanceSession(connection, origin)
            session.opened = lambda: iter([Fetch(Request("depth", "/none", (), 1))])  # type: ignore[method-assign]
            return session

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


def test_a_mistake_of_ours_ends_it_loudly_and_names_the_frame(small_exchange: Any) -> None:
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


def test_it_stops_while_connecting(deaf_port: int) -> None:
    async def scenario() -> None:
        async with running(f"ws://127.0.0.1:{deaf_port}") as one:
            await asyncio.sleep(0.05)
            assert not one.runner.first.done()

    asyncio.run(scenario())


def test_a_refusal_of_the_first_connection_is_final(small_exchange: Any) -> None:
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


def test_a_wrong_address_is_final() -> None:
    async def scenario() -> None:
        async with running("nonsense") as one:
            with pytest.raises(UsageError):
                await one.runner.first
            with pytest.raises(UsageError):
                await one.task

    asyncio.run(scenario())


def test_too_many_connections_waits_as_long_as_the_exchange_says_and_other_hosts_are_tried(
    small_exchange: Any, until: Any, free_port: int
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
