"""What every widget is: a scene at the pump of its feed, shown by a module of JavaScript.

Running a cell again closes the widgets that its former run has made, so that nothing is left behind. A notebook that
is stored or exported keeps the last picture as SVG.
"""

import logging
from typing import Any, TypeVar

import anywidget
import msgspec
import traitlets as t
from ipywidgets import Layout

from marketlab.errors import MarketlabError, UsageError
from marketlab.streams.live import LiveFeed
from marketlab.widgets.cells import is_listening, replace_former
from marketlab.widgets.contract import Scene
from marketlab.widgets.flow import report_of
from marketlab.widgets.picture import Sheet, decimals_of
from marketlab.widgets.pump import pump_of
from marketlab.widgets.seat import Seat
from marketlab.widgets.shown import Picture, Shown, sending

__all__ = ["PALETTES", "LiveWidget", "Picture", "require_feed"]

_T = TypeVar("_T")

PALETTES = ("default", "cvd")
"""Teal and red; blue and vermillion, which people tell apart who cannot tell green from red."""

_HIGHEST = 4_000
_log = logging.getLogger("marketlab.widgets")


class LiveWidget(Shown, anywidget.AnyWidget):
    """A live view of a feed. `close()` ends it; running its cell again replaces it.

    Args:
        feed: What `live` returned.
        traits: Options; each is an attribute that may be changed later.

    Raises:
        UsageError: not a feed, a feed that was stopped, or an option that does not exist or has a wrong value.
        UnknownSymbol: the exchange lists no such symbol.
    """

    exchange = t.Unicode(read_only=True).tag(sync=True)
    symbol = t.Unicode().tag(sync=True)
    palette = t.Enum(PALETTES, default_value="default", help="Colours of up and down: default or cvd.").tag(sync=True)
    theme = t.Enum(("auto", "light", "dark"), default_value="auto", help="auto follows JupyterLab.").tag(sync=True)
    height = t.Int(420, min=120, max=_HIGHEST, help="Pixels; the width is the cell's.").tag(sync=True)
    paused = t.Bool(False, help="Keep the picture as it is; what comes meanwhile is not lost.").tag(sync=True)
    rate = t.Int(60, min=1, max=120, help="Frames a second, at most.").tag(sync=True)
    notice = t.Unicode("", help="One line in the middle: what is missing and what to do.").tag(sync=True)
    price_decimals = t.Int(2).tag(sync=True)
    size_decimals = t.Int(5).tag(sync=True)

    module = ""
    """The name of the widget's JavaScript."""

    def __init__(self, feed: LiveFeed, symbol: str = "", **traits: Any) -> None:
        require_feed(feed, type(self).__name__)
        unknown = sorted(set(traits) - self._options())
        if unknown:
            known = ", ".join(sorted(self._options()))
            raise UsageError(f"{type(self).__name__} has no option {unknown[0]!r}; there are {known}.")
        wanted: object = symbol
        if not (isinstance(wanted, str) and (wanted or "symbol" not in self._options())):
            name, instead = type(self).__name__, f", not {wanted!r}" if wanted else ""
            raise UsageError(f"{name} takes a symbol, such as {name}(feed, 'BTCUSDT'){instead}.")
        self.feed = feed
        self._pump = pump_of(feed)
        self._seat: Seat | None = None
        self._scene: Scene | None = None
        self._swapping = False
        self._closed = False
        self._own_layout = not isinstance(traits.get("layout"), Layout)
        given = {"symbol": feed.symbol(symbol), **traits} if symbol else traits
        self._esm = self._javascript()
        try:
            super().__init__(**given)
        except t.TraitError as error:
            raise UsageError(f"{type(self).__name__}: {error}") from None
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self.set_trait("exchange", self.feed.inner.exchange.name)
        self._fit_decimals()
        self._scene = scene = self.scene()
        seat = Seat(scene, self._post, self._tell, self._ended, self.rate, is_listening)
        if self.paused:
            seat.pause(paused=True)
        replace_former(self)
        self._seat = seat
        self._pump.join(seat)
        self.on_msg(self._heard)
        self.observe(self._changed)

    # For a widget to fill in

    def scene(self) -> Scene:
        """A new scene for what the traits say now."""
        raise NotImplementedError

    def rebuilt_by(self) -> set[str]:
        """The traits that need a new scene when they change."""
        return {"symbol"}

    def asked(self, content: dict[str, Any]) -> None:
        """The browser asks for something that only this widget knows; in the kernel's main thread."""

    # Its life

    def close(self) -> None:
        """End it: nothing is sent any more, and its views disappear. Twice is once."""
        if self._closed:
            return
        with sending:
            self._closed = True
        if self._seat is not None:
            self._pump.leave(self._seat)
        if self._own_layout:
            self.layout.close()
        super().close()

    @property
    def frames_sent(self) -> int:
        """Frames that went to the browser."""
        return 0 if self._seat is None else self._seat.frames_sent

    def picture(self) -> Picture:
        """What it shows now, as a picture that stays."""
        return Picture(self.feed.ask(self._svg))

    def _svg(self) -> str:
        assert self._seat is not None
        try:
            return self._seat.svg()
        except MarketlabError as error:  # such as a book that is not streamed any more
            sheet = Sheet(640, 120, repr(self))
            sheet.message(str(error))
            return sheet.svg()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.symbol} on {self.exchange}>"

    def shown(self) -> None:
        """It was put into a cell's output, perhaps inside of another widget."""
        if self._seat is not None:
            self._pump.shown(self._seat)

    def _ended(self) -> None:
        """The feed has stopped: what is stored with the notebook becomes the last picture."""
        self._refresh()

    # Between the kernel and the feed's thread

    def _post(self, packed: bytes) -> None:
        with sending as possible:
            if possible and not self._closed and not self._swapping and self._shows_what_is_wanted():
                self.send({}, [packed])

    def _tell(self, notice: str) -> None:
        with sending as possible:
            if possible and not self._closed:
                self.notice = notice
                # Said again: while the main thread handles a page's message, changes of traits may be held back there.
                self.send_state("notice")

    def _heard(self, _: Any, content: dict[str, Any], __: Any) -> None:
        seat, kind = self._seat, content.get("type")
        if seat is None:
            return
        if kind == "report":
            try:
                self._pump.reported(seat, report_of(content))
            except msgspec.ValidationError as error:
                _log.warning("A page's report cannot be read: %s", error)
        elif kind == "open":
            self._pump.opened(seat, str(content.get("page", "")))
        elif kind == "close":
            self._pump.closed(seat, str(content.get("page", "")))
        elif kind == "whole":
            self._pump.refresh(seat, whole=True)
        else:
            self.asked(content)

    def notify_change(self, change: Any) -> None:
        """Tell that a trait has changed; nothing is posted from what this changes until the new scene is shown."""
        rebuilt = self._seat is not None and not self._closed and change["name"] in self.rebuilt_by()
        if rebuilt and not self.feed.running:
            # A page's wishes pass the validators only when they are already there.
            self._trait_values[change["name"]] = change["old"]
            self.send_state(change["name"])
            return
        if rebuilt:
            with sending:
                self._swapping = True
        try:
            super().notify_change(change)
        finally:
            if rebuilt:
                self._rebuild(change["name"])

    def _rebuild(self, name: str) -> None:
        seat = self._seat
        try:
            if seat is None or self._closed:
                return
            if name == "symbol":
                self._fit_decimals()
            self._scene = scene = self.scene()
            self._pump.show(seat, scene)
        finally:
            self._swapping = False

    def _shows_what_is_wanted(self) -> bool:
        return self._seat is None or self._seat.scene is self._scene

    def _changed(self, change: Any) -> None:
        seat, name = self._seat, change["name"]
        if seat is None or self._closed:
            return
        if name == "paused":
            paused = self.paused
            self._pump.run(lambda: seat.pause(paused))
            self._pump.refresh(seat, whole=True)
        elif name == "rate":
            rate = self.rate
            self._pump.run(lambda: setattr(seat.flow, "rate", rate))

    @t.validate("symbol")
    def _known_symbol(self, proposal: Any) -> str:
        return self._had(self.symbol, self.feed.symbol(proposal["value"]))

    def _had(self, shown: _T, wanted: _T) -> _T:
        """What is wanted, if it can be had: a feed that was stopped brings nothing else than what is shown."""
        if self._seat is not None and wanted != shown and not self.feed.running:
            known = ", ".join(shown) if isinstance(shown, list) else shown
            raise UsageError(f"The feed was stopped, so only {known} can be shown; start another one.")
        return wanted

    def _fit_decimals(self) -> None:
        instrument = self.feed.inner.instrument(self.symbol) if self.symbol else None
        if instrument is not None:
            self.price_decimals = decimals_of(instrument.tick, 2)
            self.size_decimals = decimals_of(instrument.step, 5)

    @classmethod
    def _options(cls) -> set[str]:
        inherited = set(anywidget.AnyWidget.class_trait_names())
        hidden = {"exchange", "notice", "price_decimals", "size_decimals"}
        return {name for name in cls.class_trait_names() if name not in inherited} - hidden | {"layout"}

    @classmethod
    def _javascript(cls) -> str:
        from marketlab.widgets.bundles import javascript

        return javascript(cls.module)


def require_feed(feed: object, taker: str) -> None:
    """Raises UsageError where something else than a running feed was given."""
    if not isinstance(feed, LiveFeed):
        raise UsageError(f"{taker} takes a feed, which ml.live(...) returns, not {feed!r}.")
    if not feed.running:
        raise UsageError(f"The feed was stopped; start another one to give to {taker}.")
