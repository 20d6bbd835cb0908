"""Tapes made by hand, and a client that knows nothing of marketlab."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from marketlab.tapes import TapeWriter

MINUTE = 1_723_161_600_000  # 2024-08-09T00:00 in milliseconds


def trade(number: int, at: int, price: str = "100.00000000", size: str = "1.00000000", *, maker: bool = False) -> Any:
    """A BTCUSDT trade `at` milliseconds after midnight."""
    time = MINUTE + at
    data = {
        "e": "trade",
        "E": time,
        "s": "BTCUSDT",
        "t": number,
        "p": price,
        "q": size,
        "T": time,
        "m": maker,
        "M": True,
    }
    return "btcusdt@trade", time, data


def depth(first: int, last: int, at: int, bids: Iterable[Any] = (), asks: Iterable[Any] = ()) -> Any:
    """A BTCUSDT depth frame `at` milliseconds after midnight."""
    time = MINUTE + at
    data = {"e": "depthUpdate", "E": time, "s": "BTCUSDT", "U": first, "u": last, "b": list(bids), "a": list(asks)}
    return "btcusdt@depth@100ms", time, data


def quote(number: int, at: int, bid: str, ask: str) -> Any:
    """A BTCUSDT bookTicker `at` milliseconds after midnight."""
    size = "1.00000000"
    return "btcusdt@bookTicker", MINUTE + at, {"u": number, "s": "BTCUSDT", "b": bid, "B": size, "a": ask, "A": size}


class Events:
    """The makers of hand-made events, for tests to ask for."""

    minute = MINUTE
    trade = staticmethod(trade)
    depth = staticmethod(depth)
    quote = staticmethod(quote)

    @staticmethod
    def frame(event: Any) -> bytes:
        """An event as a combined frame."""
        stream, _, data = event
        return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


@pytest.fixture(scope="session")
def events() -> Events:
    return Events()


@pytest.fixture
def write_tape(tmp_path: Path) -> Callable[..., Path]:
    """Write events, or (milliseconds after midnight, snapshot) pairs, to a tape and return its path."""

    def write(happened: Iterable[Any], name: str = "tape.gz") -> Path:
        with TapeWriter(tmp_path / name) as tape:
            for event in happened:
                if len(event) == 2:
                    tape.write((MINUTE + event[0]) * 1_000_000, json.dumps(event[1], separators=(",", ":")).encode())
                else:
                    tape.write(event[1] * 1_000_000, Events.frame(event))
        return tmp_path / name

    return write


class Client:
    """A WebSocket client that reads all the time and keeps what it reads."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, headers: Any) -> None:
        self.socket = socket
        self.headers = headers
        self.messages: list[Any] = []
        self.texts: list[str] = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.closed_with: int | None = None
        self._came = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            message = await self.socket.receive()
            if message.type is aiohttp.WSMsgType.PING:
                self.pings.append(bytes(message.data))
            elif message.type is aiohttp.WSMsgType.PONG:
                self.pongs.append(bytes(message.data))
            elif message.type is aiohttp.WSMsgType.TEXT:
                self.texts.append(message.data)
                with contextlib.suppress(ValueError):
                    self.messages.append(json.loads(message.data))
            else:
                self.closed_with = self.socket.close_code
                self._came.set()
                return
            self._came.set()

    async def until(self, reached: Callable[["Client"], bool]) -> None:
        """Wait until what was read fulfils a condition."""
        async with asyncio.timeout(60):
            while not reached(self):
                self._came.clear()
                await self._came.wait()

    async def ask(self, method: str, params: Any = None, identity: Any = "ask") -> Any:
        """Send a control message and return its answer; everything that was sent before it has then been read."""
        message = {"method": method, "id": identity} | ({} if params is None else {"params": params})
        known = len(self.messages)
        await self.socket.send_json(message)
        await self.until(lambda _: any(answer.get("id", ...) == identity for answer in self.messages[known:]))
        return next(answer for answer in self.messages[known:] if answer.get("id", ...) == identity)

    async def ended(self) -> int | None:
        """Wait for the other side to close and return its code."""
        await self.until(lambda _: self._reading.done())
        return self.closed_with

    def of(self, stream: str) -> list[Any]:
        """The data of one stream's frames."""
        return [message["data"] for message in self.messages if message.get("stream") == stream]

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self.socket.close()


@pytest.fixture
def connect() -> Callable[..., Any]:
    """Open a WebSocket connection as a context manager that gives a Client."""

    @contextlib.asynccontextmanager
    async def open_socket(url: str, *, autoping: bool = True) -> AsyncIterator[Client]:
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(url, autoping=autoping, max_msg_size=0)
            client = Client(socket, socket._response.headers)
            try:
                yield client
            finally:
                await client.close()

    return open_socket


@pytest.fixture
def get() -> Callable[..., Any]:
    """GET a URL: (status, headers, decoded body)."""

    async def fetch(url: str, **headers: str) -> tuple[int, Any, Any]:
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            text = await response.text()
            body = json.loads(text) if response.content_type == "application/json" else text
            return response.status, response.headers, body

    return fetch
