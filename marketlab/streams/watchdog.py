"""A stream that was subscribed but stays silent is a fault, even while its connection answers pings.

(PEERS.md pain A1: a subscription can be acknowledged and never deliver.) Quiet symbols exist, so the patience is
generous, is a setting per channel, and doubles each time it turned out to be of no use.
"""

from collections.abc import Callable, Iterable, Mapping

from marketlab.exchanges.contract import Subscription

__all__ = ["PATIENCE_S", "Watchdog"]

PATIENCE_S: Mapping[str, float] = {
    "trade": 600.0,
    "agg_trade": 600.0,
    "quote": 300.0,
    "book": 300.0,
    "kline": 300.0,
    "ticker": 300.0,
    "mini_ticker": 300.0,
}
"""Seconds of silence that are believed, by channel (klines of all intervals: `kline`)."""

_MOST_S = 3600.0


class Watchdog:
    """Watches the streams of one connection. `last_seen` gives the microsecond of a stream's last record."""

    def __init__(self, last_seen: Callable[[Subscription], int | None], patience_s: Mapping[str, float]) -> None:
        self._last_seen = last_seen
        self._patience_s = {**PATIENCE_S, **patience_s}
        self._heard: dict[Subscription, int] = {}
        self._futile: dict[Subscription, int] = {}

    def silent(self, subscriptions: Iterable[Subscription], now: int) -> tuple[list[Subscription], list[Subscription]]:
        """The streams to subscribe anew and, of those for which that did not help, the ones to reconnect for."""
        resubscribe: list[Subscription] = []
        reconnect: list[Subscription] = []
        for stream in subscriptions:
            heard = self._heard.setdefault(stream, now)
            seen = self._last_seen(stream)
            if seen is not None and seen > heard:
                self._heard[stream] = seen
                self._futile.pop(stream, None)
                heard = seen
            if now - heard < self._patience_us(stream):
                continue
            tried = self._futile.get(stream, 0)
            (reconnect if tried % 2 else resubscribe).append(stream)
            self._futile[stream] = tried + 1
            self._heard[stream] = now
        return resubscribe, reconnect

    def _patience_us(self, stream: Subscription) -> float:
        channel = "kline" if stream.channel.startswith("kline_") else stream.channel
        patience = self._patience_s.get(channel, _MOST_S)
        return min(patience * 2.0 ** (self._futile.get(stream, 0) // 2), max(_MOST_S, patience)) * 1_000_000
