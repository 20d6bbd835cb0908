"""The local exchange in a thread of its own, for notebooks, tests and programs that are not asynchronous."""

import asyncio
import threading
import weakref
from collections.abc import Coroutine, Sequence
from typing import Self

from marketlab.exchange_server.limits import Limits
from marketlab.exchange_server.server import ExchangeServer
from marketlab.exchange_server.source import Source

__all__ = ["LocalExchange"]


class LocalExchange:
    """An `ExchangeServer` in its own thread, listening when the constructor returns. The arguments are the server's.

    `stop`, or leaving the `with` block, ends the server, its connections and the thread; so does the end of the last
    reference to it.
    """

    def __init__(
        self,
        source: Source,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        start_after: float | None = 0.3,
        hold: bool = True,
        loop: int = 1,
        limits: Limits | None = None,
        faults: Sequence[str] = (),
        fault_every: int = 1000,
    ) -> None:
        self._server = ExchangeServer(
            source,
            host=host,
            port=port,
            speed=speed,
            start_after=start_after,
            hold=hold,
            loop=loop,
            limits=limits,
            faults=faults,
            fault_every=fault_every,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="marketlab-exchange", daemon=True)
        self._thread.start()
        self._end = weakref.finalize(self, _shut_down, self._server, self._loop, self._thread)
        try:
            self._carry_out(self._server.start())
        except BaseException:
            self.stop()
            raise

    @property
    def ws_url(self) -> str:
        """The base URL of the streams, without a path."""
        return self._server.ws_url

    @property
    def rest_url(self) -> str:
        """The base URL of REST, without a path."""
        return self._server.rest_url

    def __repr__(self) -> str:
        return f"<LocalExchange of {self._server.source!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def begin(self) -> None:
        """Start the play now."""
        self._loop.call_soon_threadsafe(self._server.begin)

    def wait_done(self, timeout: float | None = None) -> bool:
        """Wait until everything was played; False where that takes longer than `timeout` seconds."""
        done = asyncio.run_coroutine_threadsafe(self._server.done.wait(), self._loop)
        try:
            return done.result(timeout)
        except TimeoutError:
            done.cancel()
            return False

    def stop(self) -> None:
        """End the server and wait for its thread; twice is once."""
        self._end()

    def _carry_out(self, coroutine: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _shut_down(server: ExchangeServer, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    async def end() -> None:
        await server.stop()
        await loop.shutdown_default_executor()  # its threads would outlive the loop

    ending = asyncio.run_coroutine_threadsafe(end(), loop)
    if threading.current_thread() is thread:  # the last reference went away in the server's own thread
        ending.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        return
    try:
        ending.result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
