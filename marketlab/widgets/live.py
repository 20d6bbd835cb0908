"""What every widget is: a scene at the pump of its feed, shown by a module of JavaScript.

Running a cell again closes the widgets that its former run has made, so that nothing is left behind. A notebook that
is stored or exported keeps the last picture as SVG.
"""

import itertools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import msgspec
import traitlets as t

from marketlab.errors import UsageError
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Scene
from marketlab.widgets.flow import report_of
from marketlab.widgets.pump import Seat, pump_of

__all__ = ["PALETTES", "LiveWidget", "Picture", "decimals_of"]

PALETTES = ("default", "cvd")
"""Teal and red; blue and vermillion, which people tell apart who cannot tell green from red."""

_HIGHEST = 4_000
_numbers = itertools.count(1)


class Picture(msgspec.Struct, frozen=True):
    """What a widget showed at one moment; a notebook draws it."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Picture, {len(self.svg):,} characters of SVG>"

    def save(self, path: Path | str) -> None:
        """Write the SVG into a file."""
        Path(path).write_text(self.svg, encoding="utf-8")


class LiveWidget(anywidget.AnyWidget):
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

    _closed = True  # what could not be made has nothing to close

    def __init__(self, feed: LiveFeed, symbol: str = "", **traits: Any) -> None:
        if not isinstance(feed, LiveFeed):
            raise UsageError(f"{type(self).__name__} takes a feed, which ml.live(...) returns, not {feed!r}.")
        if not feed.running:
            raise UsageError(f"The feed was stopped; start another one to give to {type(self).__name__}.")
        unknown = sorted(set(traits) - self._options())
        if unknown:
            known = ", ".join(sorted(self._options()))
            raise UsageError(f"{type(self).__name__} has no option {unknown[0]!r}; there are {known}.")
        self.feed = feed
        self._pump = pump_of(feed)
        self._seat: Seat | None = None
        self._closed = False
        self._shown: list[str] = []
        self._alive = False
        given = {"symbol": feed.symbol(symbol), **traits} if symbol else traits
        self._esm = self._javascript()
        try:
            super().__init__(**given)
        except t.TraitError as error:
            raise UsageError(f"{type(self).__name__}: {error}") from None
        self.set_trait("exchange", feed.inner.exchange.name)
        self._fit_decimals()
        _replace_former(self)
        self._seat = Seat(self.scene(), self._post, self._tell, self._ended, self.rate)
        self._pump.join(self._seat)
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
        self._closed = True
        if self._seat is not None:
            self._pump.leave(self._seat)
        super().close()

    @property
    def frames_sent(self) -> int:
        """Frames that went to the browser."""
        return 0 if self._seat is None else self._seat.frames_sent

    def picture(self) -> Picture:
        """What it shows now, as a picture that stays."""
        seat = self._seat
        assert seat is not None
        return Picture(self.feed.ask(lambda: seat.scene.svg()))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.symbol} on {self.exchange}>"

    def _ipython_display_(self, **_: Any) -> None:
        name = f"marketlab-{next(_numbers)}-{self.model_id}"
        self._alive = self._alive or _is_watched()
        self._shown.append(name)
        if self._seat is not None:
            self._pump.shown(self._seat)
        self._publish(name, update=False)

    def _publish(self, name: str, *, update: bool) -> None:
        shell = _shell()
        if shell is not None:
            shell.display_pub.publish(self._bundle(), transient={"display_id": name}, update=update)

    def _bundle(self) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        # A stored notebook whose kernel is gone has to show something; while somebody looks, the view does.
        svg = self.picture().svg
        bundle["text/html"] = bundle["image/svg+xml"] = svg
        if self._alive and not self._closed:
            view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
            bundle["application/vnd.jupyter.widget-view+json"] = view
        return bundle

    def _ended(self) -> None:
        """The feed has stopped: what is stored with the notebook becomes the last picture."""
        if not self._closed:
            for name in self._shown:
                self._publish(name, update=True)

    # Between the kernel and the feed's thread

    def _post(self, packed: bytes) -> None:
        if not self._closed:
            self.send({}, [packed])

    def _tell(self, notice: str) -> None:
        if notice != self.notice and not self._closed:
            self.notice = notice

    def _heard(self, _: Any, content: dict[str, Any], __: Any) -> None:
        seat, kind = self._seat, content.get("type")
        if seat is None:
            return
        if kind == "report":
            try:
                self._pump.reported(seat, report_of(content))
            except msgspec.ValidationError as error:
                raise UsageError(f"The browser's report cannot be read: {error}") from None
        elif kind == "open":
            self._pump.opened(seat, str(content.get("page", "")))
        elif kind == "close":
            self._pump.closed(seat, str(content.get("page", "")))
        elif kind == "whole":
            self._pump.refresh(seat, whole=True)
        else:
            self.asked(content)

    def _changed(self, change: Any) -> None:
        seat, name = self._seat, change["name"]
        if seat is None or self._closed:
            return
        if name == "symbol":
            self._fit_decimals()
        if name in self.rebuilt_by():
            scene = self.scene()
            self._pump.run(lambda: _swap(seat, scene))
            self._pump.changed(seat)
        elif name == "paused":
            seat.paused = self.paused
            self._pump.refresh(seat, whole=not self.paused)
        elif name == "rate":
            seat.flow.rate = self.rate

    @t.validate("symbol")
    def _known_symbol(self, proposal: Any) -> str:
        return self.feed.symbol(proposal["value"])

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


def _swap(seat: Seat, scene: Scene) -> None:
    seat.scene = scene
    seat.origin = ""


def decimals_of(unit: float, otherwise: int) -> int:
    """How many decimals a smallest difference has; `otherwise` where the exchange does not say it (0)."""
    # 0.00010000 has 4; what the exchange does not say is guessed.
    if not unit:
        return otherwise
    return len(f"{unit:.12f}".rstrip("0").partition(".")[2])


# By cell: the run that has made widgets, and those widgets.
_by_cell: dict[str, tuple[str, "weakref.WeakSet[LiveWidget]"]] = {}


def _replace_former(widget: LiveWidget) -> None:
    """Close what the former run of the same cell has made; without cells, the same kind of widget of the same symbol."""
    cell, run = _running_cell() or (f"{type(widget).__name__} {widget.symbol}", str(widget.model_id))
    former = _by_cell.get(cell)
    if former is None or former[0] != run:
        for old in () if former is None else tuple(former[1]):
            old.close()
        former = _by_cell[cell] = (run, weakref.WeakSet())
    former[1].add(widget)


def _running_cell() -> tuple[str, str] | None:
    """The cell that is being run and the number of this run; None outside of a notebook."""
    message = _request()
    cell = message.get("metadata", {}).get("cellId")
    return (cell, str(message["header"]["msg_id"])) if cell else None


def _is_watched() -> bool:
    """Whether anybody is there to see a view: whoever only runs a notebook, such as nbconvert, answers no questions."""
    return bool(_request().get("content", {}).get("allow_stdin", True))


def _request() -> dict[str, Any]:
    """The message by which what runs now was asked for; empty outside of a kernel."""
    parent: Callable[[], dict[str, Any]] | None = getattr(_shell(), "get_parent", None)
    return parent() if parent is not None else {}


def _shell() -> Any:
    from IPython.core.getipython import get_ipython

    return get_ipython()
