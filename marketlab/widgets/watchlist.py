"""Several symbols side by side, live in a notebook; one of them is selected."""

from collections.abc import Iterable
from typing import Any

import traitlets as t

from marketlab.errors import UsageError
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Need, Scene
from marketlab.widgets.live import LiveWidget
from marketlab.widgets.picture import decimals_of
from marketlab.widgets.watch_scene import WatchScene

__all__ = ["Watchlist"]

_COLUMNS = ("symbol", "last", "change", "spread", "volume")
_ORDERS = ("", *_COLUMNS, *(f"-{name}" for name in _COLUMNS))


class Watchlist(LiveWidget):
    """Symbols with last price, change, the closes of an hour, spread and volume. A click or Enter selects one.

    `watch.observe(act, "selected")` calls back when another one is selected.

    Args:
        feed: What `live` returned; quotes, tickers and klines are subscribed to where it lacks them.
        symbols: In any spelling; else those of the feed.
        traits: Options, such as `sort="-change"`.

    Raises:
        UsageError: not a feed, no symbol, or a wrong option.
        UnknownSymbol: the exchange lists no such symbol.
    """

    module = "watchlist"
    symbols = t.List(t.Unicode(), help="Canonical symbols.").tag(sync=True)
    selected = t.Unicode("", help="The symbol that is selected.").tag(sync=True)
    sort = t.Enum(_ORDERS, default_value="", help="A column to sort by; with - in front, the largest first.").tag(
        sync=True
    )
    rate = t.Int(10, min=1, max=60, help="Frames a second, at most.").tag(sync=True)
    decimals = t.List(t.Int()).tag(sync=True)

    def __init__(self, feed: LiveFeed, symbols: str | Iterable[str] | None = None, **traits: Any) -> None:
        if "symbol" in traits:
            raise UsageError("Watchlist has no option 'symbol'; give symbols=[...].")
        if symbols is not None:
            traits["symbols"] = (
                [symbols] if isinstance(symbols, str) or not isinstance(symbols, Iterable) else [*symbols]
            )
        super().__init__(feed, **traits)

    def scene(self) -> Scene:
        """Its symbols."""
        streamed = {Need(stream.symbol, stream.channel) for stream in self.feed.status().streams}
        return WatchScene(self.feed.inner, self.symbols, streamed, self.decimals, self.selected, self.palette)

    def rebuilt_by(self) -> set[str]:
        """The symbols."""
        return {"symbols"}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(self.symbols)} on {self.exchange}>"

    @t.default("symbols")
    def _symbols_of_feed(self) -> list[str]:
        return list(dict.fromkeys(stream.symbol for stream in self.feed.status().streams))

    @t.default("selected")
    def _first(self) -> str:
        return str(self.symbols[0])

    @t.validate("symbols")
    def _known_symbols(self, proposal: Any) -> list[str]:
        symbols = list(dict.fromkeys(map(self.feed.symbol, proposal["value"])))
        if not symbols:
            raise UsageError("A watchlist needs at least one symbol.")
        return self._had(list(self.symbols), symbols)

    @t.validate("selected")
    def _one_of_them(self, proposal: Any) -> str:
        symbol = self.feed.symbol(proposal["value"])
        if symbol not in self.symbols:
            raise UsageError(f"{symbol} is not in the watchlist; there are {', '.join(self.symbols)}.")
        return symbol

    @t.observe("symbols")
    def _select_another(self, _: Any) -> None:
        self._fit_decimals()
        if self.selected not in self.symbols:
            self.selected = self.symbols[0]

    @t.observe("selected", "palette")
    def _look_changed(self, _: Any) -> None:
        seat, selected, palette = self._seat, self.selected, self.palette
        if seat is None:
            return

        def change() -> None:
            if isinstance(seat.scene, WatchScene):
                seat.scene.selected, seat.scene.palette = selected, palette

        self._pump.run(change)

    def _fit_decimals(self) -> None:
        instruments = [self.feed.inner.instrument(symbol) for symbol in self.symbols]
        self.decimals = [2 if one is None else decimals_of(one.tick, 2) for one in instruments]

    @classmethod
    def _options(cls) -> set[str]:
        return super()._options() - {"symbol", "decimals"}
