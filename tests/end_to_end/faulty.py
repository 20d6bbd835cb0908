"""A bad network in front of a good server: an HTTP proxy whose faults a test switches on and off.

It runs in a thread of its own, on a free port of the loopback, and keeps that port while it is away.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

from ..servers import free_port

__all__ = ["Answer", "Cut", "Fault", "FaultyProxy", "Late", "Passed"]


class Answer(NamedTuple):
    """Answers by itself, and the server never knows, where the request's path begins like this."""

    status: int
    retry_after: str | None = None
    path: str = "/"


class Cut(NamedTuple):
    """The connection breaks: after half of the request, or when the server has done it and before its answer is back."""

    where: str
    """`request` or `answer`."""


class Late(NamedTuple):
    """The server does it at once, and its answer takes its time, where the request's path begins like this."""

    seconds: float
    path: str = "/"


Fault: TypeAlias = Answer | Cut | Late


class Passed(NamedTuple):
    """A request that the server has answered: lines in its body, and the status."""

    path: str
    lines: int
    status: int


class _Head(NamedTuple):
    text: bytes
    path: str
    length: int


class FaultyProxy:
    """Stands before the server on a port of this machine. `passed` is what the server answered, `faults` counts."""

    def __init__(self, upstream: int) -> None:
        self.port = free_port()
        self.fault: Fault | None = None
        self.passed: list[Passed] = []
        self.faults = 0
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-proxy")

    @property
    def lines(self) -> int:
        """How many lines have been written."""
        return sum(passed.lines for passed in self.passed if passed.status == 204)

    @property
    def longest(self) -> int:
        """The lines of the longest request that was written."""
        return max((passed.lines for passed in self.passed if passed.status == 204), default=0)

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Has this fault inside of the block."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody listens inside of the block, and every connection is broken."""
        self._do(self._close)
        try:
            yield
        finally:
            self._do(self._open)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(30)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # Whoever goes away in the middle, or is sent away, is what this is for.
            pass
        finally:
            self._tasks.discard(task)
            await _break(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await _read_head(reader)
        fault = self.fault
        if fault is not None:
            self.faults += 1
        if isinstance(fault, Answer) and head.path.startswith(fault.path):
            await reader.readexactly(head.length)
            writer.write(_answer(fault))
            await writer.drain()
            return True
        if fault == Cut("request"):
            await self._half(head, reader)
            return False
        body = await reader.readexactly(head.length)
        answer = await self._ask(head, body)
        if isinstance(fault, Late) and head.path.startswith(fault.path):
            await asyncio.sleep(fault.seconds)
        if fault == Cut("answer") or not answer:
            return False
        writer.write(answer)
        await writer.drain()
        return _is_whole(answer)

    async def _half(self, head: _Head, reader: asyncio.StreamReader) -> None:
        half = await reader.readexactly(head.length // 2)
        _, server = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            server.write(head.text + half)
            await server.drain()
        finally:
            await _break(server)

    async def _ask(self, head: _Head, body: bytes) -> bytes:
        reader, server = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            server.write(head.text + body)
            await server.drain()
            answer = await reader.read()
        finally:
            await _break(server)
        if answer:
            self.passed.append(Passed(head.path, body.count(b"\n") + (body[-1:] not in (b"", b"\n")), _status(answer)))
        # That the server lets go is between it and us: the client's connection stays.
        return answer.replace(b"\r\nConnection: close", b"", 1)


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
    length = 0
    kept = [first]
    for line in lines:
        name, _, value = line.partition(b":")
        match name.lower():
            case b"content-length":
                length = int(value)
            case b"transfer-encoding" | b"content-encoding":
                raise AssertionError(f"a loopback client sends its body plain and whole, not {line!r}")
        if name.lower() != b"connection":
            kept.append(line)
    # One connection a request to the server: then its end tells the end of an answer.
    text = b"\r\n".join([*kept, b"Connection: close", b"", b""])
    return _Head(text, first.split(b" ")[1].decode(), length)


def _answer(fault: Answer) -> bytes:
    body = b'{"error":"not now"}'
    after = "" if fault.retry_after is None else f"Retry-After: {fault.retry_after}\r\n"
    head = (
        f"HTTP/1.1 {fault.status} Fault\r\n{after}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def _is_whole(answer: bytes) -> bool:
    """Whether the client can tell where it ends without the connection's end."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return _status(answer) == 204 or b"\r\nContent-Length: %d" % len(body) in head or body.endswith(b"\r\n0\r\n\r\n")


async def _break(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 5.0)
