"""A small exchange of one's own on loopback, which does exactly what a test tells it to."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from marketlab.clock import Clock, SystemClock
from marketlab.errors import ExchangeError, UnreadableFrame
from marketlab.exchanges.binance import Binance
from marketlab.exchanges.contract import Subscription
from marketlab.records import Record, Trade
from marketlab.streams.backoff import Backoff
from marketlab.streams.pacing import Pace
from marketlab.streams.rest import Rest
from marketlab.streams.runner import Runner, StreamSettings

Script = Callable[["Visit"], Awaitable[None]]
Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Visit:
    """One client's connection as the server sees it."""

    def __init__(self, number: int, query: str, socket: web.WebSocketResponse) -> None:
        self.number = number
        self.query = query
        self.socket = socket
        self.texts: list[str] = []
        self.heard = asyncio.Event()
        self.gone = asyncio.Event()

    async def say(self, *frames: str | bytes) -> None:
        for frame in frames:
            await self.socket.send_str(frame if isinstance(frame, str) else frame.decode())

    async def listen(self) -> None:
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                self.texts.append(message.data)
                self.heard.set()
        self.gone.set()


class SmallExchange:
    """Counts who comes, runs a script for each connection, answers REST as told."""

    def __init__(self, script: Script, answer: Answerer | None) -> None:
        self.visits: list[Visit] = []
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self.refuse: list[web.Response] = []
        self.answers_pings = True
        self._script = script
        self._answer = answer
        self._open: set[web.WebSocketResponse] = set()
        self.port = 0

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        self.asked.append(request.path_qs)
        if self._answer is None:
            return web.json_response({"code": -1, "msg": "nothing here"}, status=404)
        return await self._answer(request)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.refuse:
            return self.refuse.pop(0)
        socket = web.WebSocketResponse(timeout=0.5, autoping=self.answers_pings)
        for name, value in self.headers.items():
            socket.headers[name] = value
        await socket.prepare(request)
        self._open.add(socket)
        visit = Visit(len(self.visits), request.path_qs, socket)
        self.visits.append(visit)
        listener = asyncio.create_task(visit.listen())
        try:
            await self._script(visit)
        finally:
            await socket.close()
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
            visit.gone.set()
            self._open.discard(socket)
        return socket

    async def hang_up(self) -> None:
        for one in list(self._open):
            await one.close()


@asynccontextmanager
async def _small_exchange(script: Script, answer: Answerer | None = None) -> AsyncIterator[SmallExchange]:
    exchange = SmallExchange(script, answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", exchange.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    exchange.port = runner.addresses[0][1]
    try:
        yield exchange
    finally:
        await exchange.hang_up()
        await runner.cleanup()


@pytest.fixture(scope="session")
def small_exchange() -> Callable[..., AbstractAsyncContextManager[SmallExchange]]:
    return _small_exchange


@pytest.fixture
def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port where a connection is taken and never a word said."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


async def _until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.002)


@pytest.fixture(scope="session")
def until() -> Callable[..., Awaitable[None]]:
    """Wait for something to become true; the time limit only ends a test that has failed."""
    return _until


QUICK = StreamSettings(backoff=Backoff(first=0.001, ceiling=0.01), overlap_s=0.05, handover_s=5.0)


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
async def _running(
    url: str,
    *,
    exchange: Binance | None = None,
    streams: Sequence[Subscription] = (Subscription("BTCUSDT", "trade"),),
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


@pytest.fixture(scope="session")
def running() -> Callable[..., AbstractAsyncContextManager[Running]]:
    """Runs one connection with the trades of BTCUSDT, and keeps everything that comes."""
    return _running
