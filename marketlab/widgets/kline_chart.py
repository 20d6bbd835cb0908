"""Klines as a chart, live in a notebook."""

from collections.abc import Iterable, Iterator
from typing import Any

import traitlets as t

from marketlab.errors import UsageError
from marketlab.market.candles import period
from marketlab.records import Trade
from marketlab.stores.contract import Store
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Scene
from marketlab.widgets.kline_history import OwnStore, Readable
from marketlab.widgets.kline_overlays import parse
from marketlab.widgets.kline_picture import Look
from marketlab.widgets.kline_scene import LONGEST, KlineScene
from marketlab.widgets.live import LiveWidget
from marketlab.widgets.past import past_trades

__all__ = ["KlineChart"]

_USUAL = ("1s", "1m", "5m", "15m", "1h", "4h", "1d")


class KlineChart(LiveWidget):
    """Candles over volume: history out of a store and over REST, then every trade as it comes.

    The last candle is the one of all trades so far. Bars that nobody knows, or in which something was missing and
    fetched back, are marked. Times are UTC.

    Args:
        feed: What `live` returned; trades and klines are subscribed to where it lacks them.
        symbol: In any spelling.
        interval: Of a bar, as the exchange calls it, such as `5m`; may be changed later, here or on the chart.
        store: What `open_store` returned, or a URL: where history is looked for first.
        bars: How many periods are shown.
        overlays: Lines over the candles: `sma 20` and `ema 50` with any number of bars, `vwap` from the day's
            beginning in UTC on.
        traits: More options, such as `intervals`, the choices on the chart, or `height`.

    Raises:
        UsageError: not a feed, an interval or overlay that does not exist, or a wrong option.
        UnknownSymbol: the exchange lists no such symbol.
        MissingDependency: the store needs a package that is not installed.
    """

    module = "kline_chart"
    interval = t.Unicode("1m", help="Of a bar, as the exchange calls it.").tag(sync=True)
    intervals = t.List(t.Unicode(), help="The choices on the chart.").tag(sync=True)
    bars = t.Int(500, min=2, max=LONGEST, help="How many periods are shown.").tag(sync=True)
    overlays = t.List(t.Unicode(), ["sma 20", "vwap"], help="Lines over the candles.").tag(sync=True)

    _own_store = False
    _store: Readable | None = None

    def __init__(
        self,
        feed: LiveFeed,
        symbol: str = "",
        *,
        interval: str = "1m",
        store: "str | Store | None" = None,
        bars: int = 500,
        overlays: str | Iterable[str] = ("sma 20", "vwap"),
        **traits: Any,
    ) -> None:
        self._own_store = isinstance(store, str)
        wanted = _listed(overlays)
        self._store = OwnStore(_opened(store)) if isinstance(store, str) else _readable(store)
        if isinstance(feed, LiveFeed):
            known = feed.inner.exchange.intervals
            traits.setdefault("intervals", [name for name in _USUAL if name in known])
        try:
            super().__init__(feed, symbol, interval=interval, bars=bars, overlays=wanted, **traits)
        except BaseException:
            self._let_go()
            raise

    def scene(self) -> Scene:
        """The klines of an interval."""
        interval, interval_us = self.interval, self.feed.inner.exchange.intervals[self.interval]

        def of_the_period(newest: Iterator[Trade]) -> Iterator[Trade]:
            opened = None
            for trade in newest:
                if opened is None:
                    opened, _ = period(interval, interval_us, trade.time)
                yield trade
                if trade.time < opened:  # one more, so that the period's beginning is known to be seen
                    return

        return KlineScene(
            self.feed.inner,
            self.symbol,
            self.interval,
            self.bars,
            self._store,
            past=past_trades(self.feed, self.symbol, of_the_period),
            look=self._look(),
        )

    def rebuilt_by(self) -> set[str]:
        """What other bars come with."""
        return {"symbol", "interval", "bars"}

    def asked(self, content: dict[str, Any]) -> None:
        """`older`: somebody looks at the left end."""
        seat = self._seat
        if content.get("type") != "older" or seat is None:
            return

        def extend() -> None:
            if isinstance(seat.scene, KlineScene):
                seat.scene.extend()

        self._pump.run(extend)
        self._pump.changed(seat)

    def close(self) -> None:
        """End it; a store that it has opened is closed too."""
        super().close()
        self._let_go()

    def _let_go(self) -> None:
        if self._own_store and self._store is not None:
            self._store.close()

    def _look(self) -> Look:
        overlays = tuple(parse(text) for text in self.overlays)
        return Look(overlays, self.palette, self.price_decimals, self.size_decimals)

    def _changed(self, change: Any) -> None:
        super()._changed(change)
        seat, look = self._seat, self._look()
        if seat is None or change["name"] not in ("overlays", "palette"):
            return

        def wear() -> None:  # by whichever scene is there by then: another interval may be on its way
            if isinstance(seat.scene, KlineScene):
                seat.scene.look = look

        self._pump.run(wear)

    @t.validate("interval")
    def _known_interval(self, proposal: Any) -> str:
        return self._had(self.interval, self._of_the_exchange(proposal["value"]))

    @t.validate("bars")
    def _possible_bars(self, proposal: Any) -> int:
        return self._had(self.bars, int(proposal["value"]))

    @t.validate("intervals")
    def _known_intervals(self, proposal: Any) -> list[str]:
        return [self._of_the_exchange(interval) for interval in proposal["value"]]

    @t.validate("overlays")
    def _drawable(self, proposal: Any) -> list[str]:
        return [str(parse(text)) for text in proposal["value"]]

    def _of_the_exchange(self, interval: str) -> str:
        exchange = self.feed.inner.exchange
        if interval not in exchange.intervals:
            offered = ", ".join(exchange.intervals)
            raise UsageError(f"{exchange.name} has no klines of {interval!r}; it offers {offered}.")
        return interval


def _listed(overlays: object) -> list[Any]:
    if isinstance(overlays, str):
        return [overlays]
    if not isinstance(overlays, Iterable):
        raise UsageError(f"KlineChart takes overlays as a list such as ['sma 20', 'vwap'], not {overlays!r}.")
    return list(overlays)


def _readable(store: Store | None) -> Store | None:
    if store is not None and not callable(getattr(store, "read", None)):
        raise UsageError(f"store is {store!r}; give a URL such as 'delta://marketdata', or what open_store returned.")
    return store


def _opened(url: str) -> Store:
    from marketlab.config import load_settings
    from marketlab.stores.open import open_store

    settings = load_settings(store=url, caller="KlineChart()")
    return open_store(settings.store, settings)
