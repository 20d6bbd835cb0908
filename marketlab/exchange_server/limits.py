"""The exchange's limits, kept by the server as the exchange keeps them."""

from collections import deque

import msgspec

from marketlab.clock import Clock

__all__ = ["Limits", "Rate", "Verdict", "Weights"]


class Limits(msgspec.Struct, frozen=True):
    """What a client may do. Seconds and counts; the defaults are Binance spot's."""

    messages_per_second: int = 5
    streams_per_connection: int = 1024
    connections_per_five_minutes: int = 300
    weight_per_minute: int = 6000
    ping_every_s: float = 20.0
    pong_within_s: float = 60.0
    forgiven_requests: int = 5
    """So many requests after a 429 are answered 429 again; the next one is a ban."""
    ban_s: float = 120.0


class Verdict(msgspec.Struct, frozen=True):
    """What the weight limit says to a request: an HTTP status, the weight used so far, seconds to wait if refused."""

    status: int
    used: int
    retry_after: int = 0


class Rate:
    """At most `count` events in any `seconds`."""

    def __init__(self, count: int, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=count)

    def exceeded(self) -> bool:
        """Count an event; whether it is one too many."""
        now = self._clock.monotonic()
        recent = self._recent
        many = len(recent) == recent.maxlen and now - recent[0] < self._seconds
        recent.append(now)
        return many


class Weights:
    """The request weight of one address: counted by the minute of the clock, 429 above the limit, then 418."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._minute = 0
        self._used = 0
        self._refused = 0
        self._bans = 0
        self._banned_until = 0.0

    def spend(self, weight: int) -> Verdict:
        """Count a request."""
        seconds = self._clock.now() / 1_000_000
        if seconds < self._banned_until:
            return Verdict(418, self._used, self._wait(self._banned_until - seconds))
        if self._minute != int(seconds // 60):
            self._minute = int(seconds // 60)
            self._used = self._refused = 0
        self._used += weight
        if self._used <= self._limits.weight_per_minute:
            return Verdict(200, self._used)
        self._refused += 1
        if self._refused <= self._limits.forgiven_requests:
            return Verdict(429, self._used, self._wait(60 - seconds % 60))
        ban = self._limits.ban_s * 2**self._bans
        self._bans += 1
        self._banned_until = seconds + ban
        return Verdict(418, self._used, self._wait(ban))

    def _wait(self, seconds: float) -> int:
        return max(1, -int(-seconds // 1))
