"""A feed at a glance: watchlist, chart, ladder and trades of the symbol that is selected, with controls."""

import re
import weakref
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets as t

from marketlab.errors import UsageError
from marketlab.lab.controls import follow, offer
from marketlab.streams.live import LiveFeed
from marketlab.widgets.book_ladder import BookLadder
from marketlab.widgets.kline_chart import KlineChart
from marketlab.widgets.live import LiveWidget, require_feed
from marketlab.widgets.shown import Picture, Shown
from marketlab.widgets.time_and_sales import TimeAndSales
from marketlab.widgets.watchlist import Watchlist

if TYPE_CHECKING:
    from marketlab.stores.contract import Store

__all__ = ["Dashboard"]

_INTERVALS = ("1s", "1m", "5m", "15m", "1h", "4h", "1d")
_STEPS = (*(one * power for power in (1, 10, 100, 1_000) for one in (1, 2, 5)), 10_000)[1:]
"""Of the ladder's own keys, in ticks."""

_DEEPEST = 50
_GAP = 8
_LIST, _ROW = 62, 28

# Three columns where there is room, two in a usual cell, one in a narrow one. The controls choose the interval.
_STYLE = """<style>
.ml-dashboard {{ container-type: inline-size; overflow: visible; }}
.ml-dashboard .widget-box {{ overflow: visible; }}
.ml-dashboard .ml-chart-part .ml-switch.ml-switch {{ display: none; }}
.ml-dashboard .ml-chart-part .ml-chart-choices.ml-chart-choices {{ display: none; }}
.ml-dashboard > .ml-style {{ display: none; }}
.ml-dashboard-controls {{ flex-flow: row wrap; align-items: center; gap: 4px 16px; margin: 0 0 6px; }}
.ml-dashboard-controls > * {{ margin: 0; flex: none; width: auto; }}
.ml-dashboard-controls .widget-slider {{ width: 240px; }}
.ml-dashboard-controls select {{ width: auto; }}
.ml-dashboard-parts {{ display: grid; gap: {gap}px; --ml-height: {height}px; --ml-list: {list}px; }}
.ml-dashboard-parts > * {{ margin: 0; min-width: 0; width: 100%; overflow: hidden; }}
.ml-dashboard-parts > * .ml-widget, .ml-dashboard-parts > .ml-widget {{ height: 100% !important; }}
.ml-dashboard-parts > .ml-watch-part {{ grid-area: watch; }}
.ml-dashboard-parts > .ml-chart-part {{ grid-area: chart; }}
.ml-dashboard-parts > .ml-ladder-part {{ grid-area: ladder; }}
.ml-dashboard-parts > .ml-trades-part {{ grid-area: trades; }}
@container (min-width: 1000px) {{
  .ml-dashboard-parts {{
    grid-template: "watch chart ladder" var(--ml-list) "trades chart ladder" minmax(0, 1fr)
      / minmax(300px, 1fr) minmax(0, 2.1fr) minmax(290px, 1fr);
    height: var(--ml-height);
  }}
}}
@container (min-width: 620px) and (max-width: 999.9px) {{
  .ml-dashboard-parts {{
    grid-template: "watch chart" calc(var(--ml-height) * 0.55) "trades ladder" calc(var(--ml-height) * 0.75)
      / minmax(250px, 2fr) minmax(0, 3fr);
  }}
}}
@container (max-width: 619.9px) {{
  .ml-dashboard-parts {{
    grid-template: "watch" var(--ml-list) "chart" calc(var(--ml-height) * 0.6)
      "ladder" calc(var(--ml-height) * 0.8) "trades" calc(var(--ml-height) * 0.5) / minmax(0, 1fr);
  }}
}}
</style>"""


class Dashboard(Shown, ipywidgets.VBox):  # type: ignore[misc]
    """What `dashboard` returns: `watch` selects the symbol that `chart`, `ladder` and `trades` show.

    `symbol`, `interval`, `depth`, `group` and `paused` may be set, and observed.
    """

    symbol = t.Unicode(help="The symbol that is shown.")
    interval = t.Unicode(help="Of the chart's bars.")
    depth = t.Int(help="Levels a side of the ladder.")
    group = t.Float(help="The ladder's price step; 0: every level.")
    paused = t.Bool(False, help="Keep all pictures as they are; what comes meanwhile is not lost.")

    def __init__(
        self,
        feed: LiveFeed,
        symbols: str | Iterable[str] | None = None,
        interval: str = "1m",
        store: "str | Store | None" = None,
        height: int = 640,
        palette: str = "default",
    ) -> None:
        require_feed(feed, "dashboard")
        made: list[LiveWidget] = []
        try:
            self.watch = Watchlist(feed, symbols, palette=palette)
            made.append(self.watch)
            look: dict[str, Any] = {"height": height, "palette": palette}
            symbol = self.watch.selected
            self.chart = KlineChart(feed, symbol, interval=interval, store=store, intervals=[], **look)
            made.append(self.chart)
            self.ladder = BookLadder(feed, symbol, **look)
            made.append(self.ladder)
            self.trades = TimeAndSales(feed, symbol, **look)
            made.append(self.trades)
        except BaseException:
            for part in made:
                part.close()
            raise
        self.feed = feed
        style = ipywidgets.HTML(
            _STYLE.format(gap=_GAP, height=height, list=min(_LIST + _ROW * len(self.watch.symbols), height // 2))
        )
        controls, parts = ipywidgets.HBox(), ipywidgets.Box(list(self.parts))
        super().__init__([style, controls, parts])
        self._closed = False
        self._name_parts(style, controls, parts)
        self._link_parts()
        controls.children = self._controls()
        self._follow_life()

    @property
    def parts(self) -> tuple[LiveWidget, ...]:
        """The four live widgets."""
        return (self.watch, self.chart, self.ladder, self.trades)

    def close(self) -> None:
        """End all parts and controls; twice is once."""
        if self._closed:
            return
        self._closed = True
        controls = self.children[1]
        for widget in (*controls.children, *self.parts, *self.children, self):
            for look in ("style", "layout"):  # which ipywidgets would keep
                if widget.has_trait(look):
                    getattr(widget, look).close()
            if widget is not self:
                widget.close()
        super().close()

    def picture(self) -> Picture:
        """All parts as they are now, as one picture that stays."""
        return Picture(_beside([part.picture().svg for part in self.parts], f"Dashboard of {self._names}"))

    def shown(self) -> None:
        """It was put into a cell's output."""
        for part in self.parts:
            part.shown()

    @property
    def _names(self) -> str:
        return f"{', '.join(self.watch.symbols)} on {self.watch.exchange}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._names}>"

    @t.validate("symbol")
    def _watched(self, proposal: Any) -> str:
        symbol = self.feed.symbol(proposal["value"])
        if symbol not in self.watch.symbols:
            raise UsageError(f"{symbol} is not in the watchlist; there are {', '.join(self.watch.symbols)}.")
        if not self.feed.running and symbol != self.chart.symbol:
            self.watch.selected = self.chart.symbol  # where it was chosen
            raise UsageError(f"The feed was stopped, so only {self.chart.symbol} can be shown; start another one.")
        return symbol

    @t.validate("interval", "depth", "group")
    def _possible(self, proposal: Any) -> Any:
        name = proposal["trait"].name
        part = self.chart if name == "interval" else self.ladder
        # The part judges it, so that either both change or none.
        try:
            setattr(part, name, proposal["value"])
        except t.TraitError as error:
            raise UsageError(f"{type(self).__name__}: {error}") from None
        return getattr(part, name)

    def _name_parts(self, style: ipywidgets.HTML, controls: ipywidgets.HBox, parts: ipywidgets.Box) -> None:
        self.add_class("ml-dashboard")
        style.add_class("ml-style")
        controls.add_class("ml-dashboard-controls")
        parts.add_class("ml-dashboard-parts")
        for part, name in zip(self.parts, ("watch", "chart", "ladder", "trades"), strict=True):
            part.add_class(f"ml-{name}-part")

    def _link_parts(self) -> None:
        t.link((self.watch, "selected"), (self, "symbol"))
        t.link((self.chart, "interval"), (self, "interval"))
        for name in ("depth", "group"):
            t.link((self.ladder, name), (self, name))
        for part in self.parts:
            t.link((self, "paused"), (part, "paused"))
            if part is not self.watch:
                t.link((self, "symbol"), (part, "symbol"))

    def _controls(self) -> list[ipywidgets.Widget]:
        symbol = ipywidgets.Dropdown(options=self.watch.symbols, value=self.symbol, description="Symbol")
        interval = ipywidgets.ToggleButtons(options=self._intervals(), value=self.interval)
        interval.style.button_width = "auto"
        depth = ipywidgets.IntSlider(self.depth, 1, _DEEPEST, description="Depth", continuous_update=False)
        group = ipywidgets.Dropdown(options=self._groups(), value=self.group, description="Group")
        pause = ipywidgets.ToggleButton(False, description="Pause", icon="pause", tooltip="Keep all pictures")
        for control in (symbol, depth, group):
            control.style.description_width = "initial"

        def deepen() -> None:
            depth.max = max(depth.max, self.depth)

        list_symbols = follow(self, "symbol", symbol, lambda: offer(symbol, self.watch.symbols))
        list_groups = follow(self, "group", group, lambda: offer(group, self._groups()))
        follow(self, "interval", interval, lambda: offer(interval, self._intervals()))
        follow(self, "depth", depth, deepen)
        t.link((self, "paused"), (pause, "value"))
        self.watch.observe(list_symbols, "symbols")
        self.observe(list_groups, "symbol")
        return [symbol, interval, depth, group, pause]

    def _intervals(self) -> list[str]:
        offered = self.feed.inner.exchange.intervals
        return [name for name in offered if name in _INTERVALS or name == self.interval]

    def _groups(self) -> list[tuple[str, float]]:
        instrument = self.feed.inner.instrument(self.symbol)
        tick = instrument.tick if instrument is not None else 0.0
        steps = [0.0, *(round(tick * step, 12) for step in _STEPS if tick), self.group]
        # Of two that read alike the last one, which is the one that is set.
        named = {f"{step:.12f}".rstrip("0").rstrip(".") if step else "every level": step for step in steps}
        return sorted(named.items(), key=lambda item: item[1])

    def _follow_life(self) -> None:
        # Whoever runs the cell again has a part closed first.
        for part in self.parts:
            part.observe(lambda change: self.close() if change["new"] is None else None, "comm")
        _refresh_at_the_end(self)


_of_feeds: "weakref.WeakKeyDictionary[LiveFeed, weakref.WeakSet[Dashboard]]" = weakref.WeakKeyDictionary()


def _refresh_at_the_end(dashboard: Dashboard) -> None:
    # A feed is told once for all of its dashboards, however often a cell is run again.
    feed = dashboard.feed
    shown = _of_feeds.get(feed)
    if shown is not None:
        shown.add(dashboard)
        return
    shown = _of_feeds[feed] = weakref.WeakSet([dashboard])

    def stopped() -> None:
        for found in tuple(shown):
            found._refresh()

    feed.when_stopped(stopped)


_HEAD = re.compile(r'<svg xmlns="[^"]*" viewBox="0 0 ([\d.]+) ([\d.]+)" width="[\d.]+"( [^>]*?) style="([^"]*)"')


def _beside(pictures: list[str], title: str) -> str:
    """Pictures in two columns, the first and the last in the left one, as one SVG element."""
    watch, chart, ladder, trades = pictures
    placed: list[str] = []
    x = height = 0.0
    style = ""
    for column in ((watch, trades), (chart, ladder)):
        y = wide = 0.0
        for picture in column:
            head = _HEAD.match(picture)
            assert head is not None
            width, high, more, style = head.groups()
            at = f'<svg x="{x:g}" y="{y:g}" width="{width}" height="{high}" viewBox="0 0 {width} {high}"{more}'
            placed.append(at + picture[head.end() :])
            y += float(high) + _GAP
            wide = max(wide, float(width))
        x += wide + 2 * _GAP
        height = max(height, y)
    width_, high_ = f"{x - 2 * _GAP:g}", f"{height - _GAP:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width_} {high_}" width="{width_}" role="img" '
        f'aria-label="{escape(title)}" style="{style}"><title>{escape(title)}</title>{"".join(placed)}</svg>'
    )
