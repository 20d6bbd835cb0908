"""A link that carries so many bytes a second and no more, with the small buffers of a real one."""

import asyncio
import socket
import threading
from collections.abc import Awaitable
from types import TracebackType
from typing import Self

__all__ = ["SlowLink"]

_PIECE = 2048
_BUFFER = 16 * 1024


class SlowLink:
    """Listens on a free port (`url`) and carries bytes to and from another one of this machine.

    All connections share the link, as browser tabs share a line. Until `limit` is called it is as fast as it can be.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._rate: float | None = None
        self._free_at = {"up": 0.0, "down": 0.0}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slow-link", daemon=True)
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def limit(self, rate: float | None) -> None:
        """Carry `rate` bytes a second in each direction from now on; None: no limit."""
        self._rate = rate

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        # What a listening socket is told, its connections inherit: only so are their windows small from the start.
        listening = _small(socket.create_server(("127.0.0.1", 0)))
        self.port = listening.getsockname()[1]
        self._server = await asyncio.start_server(self._joined, sock=listening, limit=_PIECE)

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # in which the connections are closed

    async def _joined(self, near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far_socket = _small(socket.socket())
        far_socket.setblocking(False)
        try:
            await self._loop.sock_connect(far_socket, ("127.0.0.1", self._target))
            far, far_out = await asyncio.open_connection(sock=far_socket, limit=_PIECE)
        except OSError:
            far_socket.close()
            near_out.close()
            return
        try:
            await _first_of(self._carry("up", near, far_out), self._carry("down", far, near_out))
        finally:
            far_out.close()
            near_out.close()

    async def _carry(self, way: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        target.transport.set_write_buffer_limits(high=_PIECE)
        while piece := await source.read(_PIECE):
            if self._rate is not None:
                now = self._loop.time()
                self._free_at[way] = max(now, self._free_at[way]) + len(piece) / self._rate
                await asyncio.sleep(self._free_at[way] - now)
            target.write(piece)
            await target.drain()


def _small(connection: socket.socket) -> socket.socket:
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        connection.setsockopt(socket.SOL_SOCKET, buffer, _BUFFER)
    return connection


async def _first_of(*work: Awaitable[None]) -> None:
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
