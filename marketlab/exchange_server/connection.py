"""One client's WebSocket connection: what it subscribed to, its control messages, and what waits to be sent."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec
from aiohttp import ClientConnectionError, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from marketlab.clock import Clock
from marketlab.exchange_server.frames import COMBINED, MICROSECONDS, pack
from marketlab.exchange_server.limits import Limits, Rate

__all__ = ["Connection", "Subscribers"]

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_POLICY = 1008
_GONE = (ConnectionError, ClientConnectionError)  # aiohttp raises either, on the server's side too


class Subscribers(Protocol):
    """Who must know of a connection's subscriptions."""

    def subscribe(self, connection: "Connection", stream: str) -> None:
        """The connection wants a stream from now on."""
        ...

    def unsubscribe(self, connection: "Connection", stream: str) -> None:
        """It does not any more."""
        ...


class _Refused(Exception):
    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class Connection:
    """Frames are put into `outgoing` ready for the socket; `flush` sends them and waits until the client has room."""

    def __init__(
        self, socket: web.WebSocketResponse, subscribers: Subscribers, limits: Limits, clock: Clock, *, variant: int
    ) -> None:
        self.variant = variant
        self.streams: dict[str, None] = {}
        self.outgoing: list[bytes] = []
        self.muted = False
        """Whether what is outgoing is thrown away instead."""
        self._socket = socket
        self._writer: AbstractStreamWriter | None = None
        self._transport: asyncio.Transport | None = None
        self._subscribers = subscribers
        self._limits = limits
        self._clock = clock
        self._messages = Rate(limits.messages_per_second, 1.0, clock)
        self._pings: dict[bytes, float] = {}
        self._methods: dict[str, Callable[[list[object]], object]] = {
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "LIST_SUBSCRIPTIONS": lambda _: list(self.streams),
            "SET_PROPERTY": self._set_property,
            "GET_PROPERTY": self._get_property,
        }

    @property
    def open(self) -> bool:
        """Whether frames still go out."""
        return self._writer is not None and not self._socket.closed

    async def serve(self, request: web.Request, streams: list[str]) -> None:
        """Shake hands, subscribe, and answer the client until one side ends the connection."""
        self._writer = await self._socket.prepare(request)
        self._transport = request.transport
        self._subscribe(list(streams))
        heartbeat = asyncio.create_task(self._heartbeat())
        try:
            while await self._receive():
                pass
        except _GONE:
            pass
        finally:
            heartbeat.cancel()
            self.outgoing.clear()
            for stream in self.streams:
                self._subscribers.unsubscribe(self, stream)
            self.streams.clear()
            await asyncio.gather(heartbeat, return_exceptions=True)

    async def flush(self) -> None:
        """Send what is outgoing; returns when the client is ready for more. A lost client loses it."""
        self.push()
        try:
            await self._drain()
        except _GONE:
            self.outgoing.clear()

    def push(self) -> None:
        """Send what is outgoing without waiting for the client."""
        data = b"".join(self.outgoing)
        self.outgoing.clear()
        if self._transport is not None and self.open and not self.muted:
            self._transport.write(data)  # whole messages, so nothing of aiohttp's own can come between

    async def close(self, code: int = 1001, reason: str = "") -> None:
        """Say goodbye and end the connection, even if the client does not read."""
        try:
            await self._socket.close(code=code, message=reason.encode(), drain=False)
        except _GONE:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """End the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    async def _drain(self) -> None:
        while self._writer is not None:
            try:
                await self._writer.drain()
            except asyncio.CancelledError:
                # All who wait for one client share a future in aiohttp; cancelling one of them must not end the play.
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                continue
            return

    async def _receive(self) -> bool:
        message = await self._socket.receive()
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG):
            return False
        if self._messages.exceeded():
            await self.close(_POLICY, "Too many requests")
            return False
        match message.type:
            case WSMsgType.PING:
                await self._socket.pong(message.data)
            case WSMsgType.PONG:
                # Only a pong that copies our payload keeps the connection.
                if bytes(message.data) in self._pings:
                    self._pings.clear()
            case _:
                text = message.data if isinstance(message.data, str) else bytes(message.data)
                self.outgoing.append(pack(msgspec.json.encode(self._answer(text))))
                await self.flush()
        return True

    async def _heartbeat(self) -> None:
        while True:
            await self._clock.sleep(self._limits.ping_every_s)
            now = self._clock.monotonic()
            if any(now - sent >= self._limits.pong_within_s for sent in self._pings.values()):
                await self.close(_POLICY, "Pong timeout")
                return
            payload = str(self._clock.now() // 1000).encode()
            self._pings[payload] = now
            try:
                await self._socket.ping(payload)
            except _GONE:
                return

    def _answer(self, text: str | bytes) -> dict[str, object]:
        try:
            message = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}
        identity = message.get("id") if isinstance(message, dict) else None
        try:
            return {"result": self._carry_out(message, identity), "id": identity}
        except _Refused as refused:
            return {"code": refused.code, "msg": refused.reason, "id": identity}

    def _carry_out(self, message: object, identity: object) -> object:
        if not isinstance(message, dict) or "method" not in message:
            raise _Refused(2, "Invalid request: missing field `method` at line 1 column 1")
        if not _is_identity(identity):
            raise _Refused(2, "Invalid request: request ID must be an unsigned integer")
        method, params = message["method"], message.get("params", [])
        if method not in _METHODS:
            names = ", ".join(f"`{name}`" for name in _METHODS)
            raise _Refused(2, f"Invalid request: unknown variant `{method}`, expected one of {names}")
        if not isinstance(params, list):
            raise _Refused(2, "Invalid request: params must be an array")
        return self._methods[method](params)

    def _subscribe(self, params: list[object]) -> None:
        streams = _names(params)
        if len(self.streams.keys() | set(streams)) > self._limits.streams_per_connection:
            raise _Refused(2, f"Invalid request: more than {self._limits.streams_per_connection} streams")
        for stream in streams:
            if stream not in self.streams:
                self.streams[stream] = None
                self._subscribers.subscribe(self, stream)

    def _unsubscribe(self, params: list[object]) -> None:
        for stream in _names(params):
            if stream in self.streams:
                del self.streams[stream]
                self._subscribers.unsubscribe(self, stream)

    def _set_property(self, params: list[object]) -> None:
        if len(params) > 2:
            raise _Refused(2, "Invalid request: too many parameters")
        _check_property(params)
        if len(params) < 2 or not isinstance(params[1], bool):
            raise _Refused(1, "Invalid value type: expected Boolean")
        streams = list(self.streams)
        for stream in streams:
            self._subscribers.unsubscribe(self, stream)
        self.variant = (self.variant & MICROSECONDS) | (COMBINED if params[1] else 0)
        for stream in streams:
            self._subscribers.subscribe(self, stream)

    def _get_property(self, params: list[object]) -> bool:
        if len(params) > 1:
            raise _Refused(2, "Invalid request: too many parameters")
        _check_property(params)
        return bool(self.variant & COMBINED)


def _names(params: list[object]) -> list[str]:
    names = [name for name in params if isinstance(name, str)]
    if len(names) != len(params):
        raise _Refused(2, "Invalid request: stream names must be strings")
    return names


def _check_property(params: list[object]) -> None:
    if not params or not isinstance(params[0], str):
        raise _Refused(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise _Refused(0, "Unknown property")


def _is_identity(identity: object) -> bool:
    if isinstance(identity, str):
        return len(identity) <= 36 and identity.isalnum()
    return identity is None or (
        isinstance(identity, int) and not isinstance(identity, bool) and -(2**63) <= identity < 2**63
    )
