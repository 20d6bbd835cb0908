"""The local exchange over HTTP: REST and WebSocket on one port of the loopback interface."""

import asyncio
import contextlib
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Self
from urllib.parse import unquote

import msgspec
from aiohttp import web

from marketlab.clock import Clock, SystemClock
from marketlab.errors import UsageError
from marketlab.exchange_server.connection import Connection
from marketlab.exchange_server.faults import Faults
from marketlab.exchange_server.frames import COMBINED, MICROSECONDS, pack
from marketlab.exchange_server.limits import Limits, Rate, Weights
from marketlab.exchange_server.listing import Listing
from marketlab.exchange_server.looped import Looped
from marketlab.exchange_server.player import Player
from marketlab.exchange_server.rest import Refusal, Rest, error
from marketlab.exchange_server.routes import Routes
from marketlab.exchange_server.source import Contents, Source

__all__ = ["ORIGIN_HEADER", "ExchangeServer"]

ORIGIN_HEADER = "X-Marketlab-Origin"
"""Says on every handshake and REST answer that the data is `replay` or `simulated`; a real exchange sends none."""

_UNITS = {"MICROSECOND": True, "MILLISECOND": False}
_GOODBYE_S = 1.0
_LARGEST_MESSAGE = 1 << 20


class ExchangeServer:
    """Binance's protocol over a source; one play, shared by all clients: who comes late joins where it is.

    Args:
        source: the tapes or the simulation to play.
        host: where to listen; loopback unless said otherwise.
        port: 0 takes a free one.
        speed: how many times faster than the source's own times; `math.inf`: as fast as the slowest client reads.
        start_after: seconds that subscriptions must have been quiet before the play starts; None: only `begin()` or
            `POST /control/start` starts it.
        hold: wait for the first `/depth` of symbols whose diff-depth stream is subscribed.
        loop: how often the source is played, ids and times going on from round to round.
        limits: what clients may do.
        faults: kinds of misbehaviour, see `faults.FAULTS`.
        fault_every: after how many frames they come.

    `start` raises UsageError where the port is taken, TapeError where a tape is broken. `done` is set when everything
    was played; connections then stay open and silent. A context manager (async).
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
        clock: Clock | None = None,
    ) -> None:
        if not speed > 0:
            raise UsageError(
                f"The speed must be above 0, not {speed}; 1 is the original pace, inf as fast as possible."
            )
        self.source = source if loop == 1 else Looped(source, loop)
        self.host = host
        self.port = port
        self.speed = speed
        self.done = asyncio.Event()
        self._start_after = start_after
        self._hold = hold
        self._limits = limits or Limits()
        self._faults = Faults(faults, fault_every) if faults else None
        self._clock = clock or SystemClock()
        self._connections: set[Connection] = set()
        self._runner: web.AppRunner | None = None
        self._playing: asyncio.Task[None] | None = None
        self._quiet: asyncio.TimerHandle | None = None

    @property
    def ws_url(self) -> str:
        """The base URL of the streams, without a path."""
        return f"ws://{self.host}:{self.port}"

    @property
    def rest_url(self) -> str:
        """The base URL of REST, without a path."""
        return f"http://{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"<ExchangeServer of {self.source!r}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Look through the source, listen, and return; the play starts by its own rule."""
        contents = await self.source.contents()
        self._build(contents)
        application = web.Application()
        application.router.add_get("/api/v3/{path:.+}", self._answer)
        application.router.add_get("/ws", self._connect)
        application.router.add_get("/ws/{streams:.*}", self._connect)
        application.router.add_get("/stream", self._connect)
        application.router.add_post("/control/start", self._control_start)
        application.router.add_get("/control/status", self._control_status)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=_GOODBYE_S)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError as reason:
            await self.stop()
            what = os.strerror(reason.errno) if reason.errno else str(reason)
            raise UsageError(f"Cannot listen on {self.host}:{self.port} ({what}); choose another port.") from reason
        self.port = next(int(address[1]) for address in runner.addresses)
        self._playing = asyncio.create_task(self._play())

    async def stop(self) -> None:
        """Tell the clients, end every connection and task; twice is once."""
        if self._quiet is not None:
            self._quiet.cancel()
        # No more comes in: a client that connects anew because of the notice below would be left behind.
        for site in self._runner.sites if self._runner is not None else ():
            await site.stop()
        playing, self._playing = self._playing, None
        if playing is not None:
            playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await playing
        if self._connections:
            await self.shut_down()
            await asyncio.gather(*(connection.close() for connection in list(self._connections)))
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        self.done.set()

    def begin(self) -> None:
        """Start the play now."""
        self._player.started.set()

    async def shut_down(self) -> None:
        """Send `serverShutdown` to every connection, as the exchange does before it closes them."""
        for connection in list(self._connections):
            now = self._player.now
            time = now if connection.variant & MICROSECONDS else now // 1000
            data = msgspec.json.encode({"e": "serverShutdown", "E": time})
            whole = b'{"stream":"!serverShutdown","data":%b}' % data
            connection.outgoing.append(pack(whole if connection.variant & COMBINED else data))
            connection.push()
        await asyncio.sleep(0)

    def status(self) -> dict[str, object]:
        """What `GET /control/status` answers."""
        player = self._player
        state = "done" if self.done.is_set() else "playing" if player.started.is_set() else "waiting"
        return {
            "state": f"holding for {player.holding}" if player.holding else state,
            "played": player.played,
            "clients": len(self._connections),
            "subscriptions": self._routes.subscriptions,
            "time": player.now,
            "origin": self.source.origin,
            "symbols": list(self._listings),
            "speed": "max" if math.isinf(self.speed) else self.speed,
        }

    def _build(self, contents: Contents) -> None:
        self._listings = {
            symbol: Listing(listed, seen_from=contents.start, history=self.source.history)
            for symbol, listed in sorted(contents.listed.items())
        }
        self._routes = Routes(self._listings, contents.streams, self._subscriptions_changed)
        self._player = Player(
            self.source,
            self._listings,
            self._routes,
            self._connections,
            self._clock,
            speed=self.speed,
            hold=self._hold,
            begins=contents.start,
            faults=self._faults,
        )
        self._rest = Rest(self._listings, self._player)
        self._weights: dict[str, Weights] = defaultdict(lambda: Weights(self._limits, self._clock))
        limits = self._limits
        self._attempts: dict[str, Rate] = defaultdict(
            lambda: Rate(limits.connections_per_five_minutes, 300.0, self._clock)
        )

    async def _play(self) -> None:
        try:
            await self._player.run()
        finally:
            self.done.set()

    def _subscriptions_changed(self) -> None:
        self._player.moved()
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        if self._start_after is not None and self._routes.subscriptions and not self._player.started.is_set():
            self._quiet = asyncio.get_running_loop().call_later(self._start_after, self.begin)

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        headers: dict[str, str] = {ORIGIN_HEADER: self.source.origin}
        if path not in self._rest.endpoints:
            return web.Response(status=404, text="<html><body><h2>404 Not found</h2></body></html>", headers=headers)
        params = dict(request.query)
        verdict = self._weights[request.remote or ""].spend(self._rest.weight(path, params))
        headers["X-MBX-USED-WEIGHT"] = headers["X-MBX-USED-WEIGHT-1M"] = str(verdict.used)
        status = verdict.status
        if status != 200:
            headers["Retry-After"] = str(verdict.retry_after)
            body = self._refused(status, verdict.retry_after)
        else:
            try:
                micros = _wants_micros(request.headers.get("X-MBX-TIME-UNIT", "MILLISECOND"))
                body = msgspec.json.encode(self._rest.answer(path, params, micros=micros))
            except Refusal as refusal:
                status, body = refusal.status, error(refusal.code, refusal.reason)
        return web.Response(status=status, body=body, headers=headers, content_type="application/json")

    def _refused(self, status: int, retry_after: int) -> bytes:
        if status == 429:
            limit = self._limits.weight_per_minute
            return error(
                -1003,
                f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API.",
            )
        until = self._clock.now() // 1000 + retry_after * 1000
        return error(
            -1003,
            f"Way too much request weight used; IP banned until {until}. "
            "Please use WebSocket Streams for live updates to avoid bans.",
        )

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        headers: dict[str, str] = {ORIGIN_HEADER: self.source.origin}
        if self._attempts[request.remote or ""].exceeded():
            return web.Response(status=429, text="Too many connections", headers=headers | {"Retry-After": "300"})
        combined = request.path.startswith("/stream")
        listed = request.query.get("streams", "") if combined else unquote(request.match_info.get("streams", ""))
        streams = [stream for stream in listed.split("/") if stream]
        try:
            micros = _wants_micros(request.query.get("timeUnit", "MILLISECOND"))
        except Refusal as refusal:
            return web.Response(status=400, body=error(refusal.code, refusal.reason), headers=headers)
        if len(set(streams)) > self._limits.streams_per_connection:
            return web.Response(status=400, text="Too many streams", headers=headers)
        response = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=_LARGEST_MESSAGE, timeout=_GOODBYE_S
        )
        response.headers.update(headers)
        variant = (COMBINED if combined else 0) | (MICROSECONDS if micros else 0)
        connection = Connection(response, self._routes, self._limits, self._clock, variant=variant)
        self._connections.add(connection)
        try:
            await connection.serve(request, streams)
        finally:
            self._connections.discard(connection)
        return response

    async def _control_start(self, request: web.Request) -> web.Response:
        self.begin()
        return await self._control_status(request)

    async def _control_status(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self.status()), content_type="application/json")


def _wants_micros(unit: str) -> bool:
    micros = _UNITS.get(unit.upper())
    if micros is None:
        raise Refusal(-1194, "Invalid time unit; expected either MICROSECOND or MILLISECOND.")
    return micros
