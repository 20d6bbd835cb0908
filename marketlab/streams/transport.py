"""The socket behind five lines, so that a faster one can take its place.

Third-party exceptions end here: one table turns them into ours.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from websockets import exceptions as ws
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as ws_connect

from marketlab.errors import ConnectionLost, MarketlabError, RateLimited, Rejected, UsageError
from marketlab.records import ORIGINS, Origin
from marketlab.streams.pacing import retry_after

__all__ = ["FOREIGN", "ORIGIN_HEADER", "Transport", "connect", "is_local", "origin_of", "translate"]

ORIGIN_HEADER = "X-Marketlab-Origin"
"""How a local exchange says that what it serves is replayed or simulated; a real exchange sends none."""

_MOST_FRAMES = 512
_QUEUED_FRAMES = 2048


class Transport(Protocol):
    """One open connection. Every method raises ConnectionLost once it is gone."""

    origin: Origin | None
    """What the other side says its data is; None: it says nothing."""

    async def receive(self) -> list[bytes]:
        """The frames that have come in: at least one, in order, none lost by cancelling."""
        ...

    async def send(self, text: str) -> None:
        """Send one text frame."""
        ...

    async def ping(self) -> None:
        """Return when the other side has answered a ping."""
        ...

    async def close(self) -> None:
        """Say goodbye and let go, within a second or so; twice is once."""
        ...


class _WebSocket:
    def __init__(self, url: str, connection: ClientConnection) -> None:
        self._url = url
        self._connection = connection
        response = connection.response
        self.origin = origin_of(response.headers.get(ORIGIN_HEADER) if response else None)

    async def receive(self) -> list[bytes]:
        recv = self._connection.recv
        try:
            frames: list[bytes] = [await recv(decode=False)]
        except FOREIGN as error:
            raise translate(error, self._url) from error
        # One pass through the event loop costs more than a frame. So what is buffered already is taken now: `recv`
        # ends at its first step when it has a frame; when it would wait instead it is cancelled, which is safe.
        while len(frames) < _MOST_FRAMES:
            attempt = recv(decode=False)
            try:
                attempt.send(None)
            except StopIteration as done:
                frames.append(done.value)
                continue
            except ws.ConnectionClosed:  # told by the next call, after these frames
                break
            with contextlib.suppress(asyncio.CancelledError):
                attempt.throw(asyncio.CancelledError())
            break
        return frames

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except FOREIGN as error:
            raise translate(error, self._url) from error

    async def ping(self) -> None:
        try:
            answer = await self._connection.ping()
            await answer
        except FOREIGN as error:
            raise translate(error, self._url) from error

    async def close(self) -> None:
        await self._connection.close()


async def connect(url: str, *, timeout_s: float = 10.0, proxy: str | None = None) -> Transport:
    """Open a WebSocket; without `proxy`, the usual environment variables decide, but never for loopback.

    Raises:
        ConnectionLost: nobody answers there, or not as a WebSocket server.
        Rejected: the server refuses this address or client.
        RateLimited: too many connections.
        UsageError: the address makes no sense.
    """
    try:
        connection = await ws_connect(
            url,
            compression=None,
            max_size=None,
            max_queue=_QUEUED_FRAMES,
            ping_interval=None,  # the exchange pings; our own would count into its message limit
            open_timeout=timeout_s,
            close_timeout=1.0,
            proxy=proxy or (None if is_local(url) else True),
        )
    except FOREIGN as error:
        raise translate(error, url) from error
    return _WebSocket(url, connection)


def is_local(url: str) -> bool:
    """Whether an address is this machine's own, which no proxy could reach."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def origin_of(header: str | None) -> Origin | None:
    """The origin that a header names, if it does."""
    return next((origin for origin in ORIGINS if origin == header), None)


def _refused(error: Exception, url: str) -> MarketlabError:
    if not isinstance(error, ws.InvalidStatus):
        return _unreachable(error, url)
    status = error.response.status_code
    if status in (418, 429):
        return RateLimited(retry_after(error.response.headers.get("Retry-After"), 60.0), banned=status == 418)
    if 400 <= status < 500:
        return Rejected(status, f"{url} answers HTTP {status} {error.response.reason_phrase}".rstrip())
    return ConnectionLost(f"{url} answers HTTP {status}; it may be under maintenance.")


def _closed(error: Exception, url: str) -> MarketlabError:
    return ConnectionLost(f"The connection to {url} ended: {error}.")


def _silent(_: Exception, url: str) -> MarketlabError:
    return ConnectionLost(f"{url} does not answer; check the address and the network.")


def _unreachable(error: Exception, url: str) -> MarketlabError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ConnectionLost(f"Cannot reach {url}: {reason}; check the address and the network.")


def _wrong_address(error: Exception, _: str) -> MarketlabError:
    return UsageError(f"{str(error).rstrip('.')}.")


_TABLE: tuple[tuple[type[Exception], Callable[[Exception, str], MarketlabError]], ...] = (
    (ws.InvalidURI, _wrong_address),
    (ws.InvalidProxy, _wrong_address),
    (ws.InvalidHandshake, _refused),
    (ws.ConnectionClosed, _closed),
    (ws.ProtocolError, _closed),
    (ws.PayloadTooBig, _closed),
    (ws.TooManyFragments, _closed),
    (TimeoutError, _silent),
    (OSError, _unreachable),
    (EOFError, _closed),
    (ImportError, _wrong_address),  # a SOCKS proxy without python-socks: the message says what to install
)
FOREIGN = tuple(kind for kind, _ in _TABLE)
"""What the library and the network raise; anything else is a mistake of ours and is not translated."""


def translate(error: Exception, url: str) -> MarketlabError:
    """A third-party exception in our words; the first line of the table that fits decides."""
    return next(say(error, url) for kind, say in _TABLE if isinstance(error, kind))
