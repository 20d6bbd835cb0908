"""Opens a notebook, shows something in it and measures that: what the kernel, the link and the browser have to do."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.live_widgets import machine, notebook_cells
from tests.browser.laboratory import NEWEST, Laboratory
from tests.browser.pages import NotebookPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROBE = Path(__file__).with_name("probe.js")
WARM_UP_S = 3.0
BARS = 150


class Held(Laboratory):
    """A JupyterLab without our server extension: small frames are held back as Jupyter does by default."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--ServerApp.jpserver_extensions={'marketlab.jupyter': False}"]


class Figures(NamedTuple):
    """What was measured of one widget in one window of time.

    Latencies are milliseconds from the receipt of the newest (or oldest) update merged into a picture until the
    animation frame that shows it; CPU shares are of a core, `feed` is the kernel's without any widget, `others` what
    has nothing to do with this.
    """

    fps: float
    new_p50: float
    new_p99: float
    old_p50: float
    kernel: float
    feed: float
    browser: float
    bytes: float
    nodes: float
    listeners: float
    others: float

    @property
    def above(self) -> float:
        """The kernel's CPU above the feed."""
        return self.kernel - self.feed


def medians(several: Sequence[Figures]) -> Figures:
    return Figures(*map(statistics.median, zip(*several, strict=True)))


def share_of(numbers: Sequence[float], share: float) -> float:
    return sorted(numbers)[min(len(numbers) - 1, int(share * len(numbers)))] if numbers else float("nan")


class Bench:
    """A browser and what serves it; opens notebooks with a running feed.

    Args:
        laboratory: JupyterLab.
        browser: Chromium.
        urls: where the exchange is.
    """

    def __init__(self, laboratory: Laboratory, browser: "Browser", urls: dict[str, str]) -> None:
        self.laboratory = laboratory
        self.browser = browser
        self.urls = urls
        self._opened = 0

    @contextmanager
    def notebook(self, cell: str, at: str | None = None) -> Iterator[NotebookPage]:
        """A notebook with one cell, which has not been run, and a feed."""
        self._opened += 1
        context = self.browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_init_script(path=PROBE)
        name = f"bench{self._opened}.ipynb"
        try:
            page = NotebookPage.opened(context, self.laboratory, [cell], name=name, kernel=NEWEST, at=at)
            page.execute(notebook_cells.FEED.format(**self.urls))
            yield page
        finally:
            context.close()
            self.laboratory.end_kernels()

    @contextmanager
    def widget(self, kind: str, *, at: str | None = None) -> Iterator["Subject"]:
        """A notebook with a widget of ours, which is not shown yet."""
        with self.notebook(notebook_cells.WIDGETS[kind].format(bars=BARS), at) as page:
            yield Widget(page, kind)

    @contextmanager
    def figure(self, hertz: float) -> Iterator["Figure"]:
        """A notebook with a figure of plotly, which is not shown yet."""
        with self.notebook("figure") as page:
            yield Figure(page, hertz)


class Subject:
    """Something in a notebook that is measured."""

    def __init__(self, page: NotebookPage) -> None:
        self.page = page
        self.kernel = int(page.ask("__import__('os').getpid()"))

    def show(self) -> None:
        """Run the cell that shows it, and wait until it has painted."""
        raise NotImplementedError

    def sent(self) -> int:
        """How many pictures the kernel has sent."""
        raise NotImplementedError

    def idle(self, seconds: float) -> float:
        """The kernel's share of a core while there is only a feed."""
        self.pause(1.0)
        before = machine.used(self.kernel)
        self.pause(seconds)
        return machine.used(self.kernel).since(before).kernel

    def pause(self, seconds: float) -> None:
        self.page.page.wait_for_timeout(seconds * 1000)

    def seen(self) -> list[list[float]]:
        """What was painted since the last call."""
        return list(self.page.evaluate("() => mlSeen.splice(0)"))

    def measure(self, seconds: float, feed: float) -> Figures:
        """Watch it for a while; `feed` is what `idle` gave."""
        counts = self.page.counts()
        sent, wire = self.sent(), self.page.evaluate("() => mlWire.bytes")
        self.pause(0.5)  # after collecting garbage and asking
        self.seen()
        before = machine.used(self.kernel)
        self.pause(seconds)
        after = machine.used(self.kernel)
        painted = self.seen()
        wire, sent = self.page.evaluate("() => mlWire.bytes") - wire, self.sent() - sent
        after_counts = self.page.counts()
        shares, took = after.since(before), after.at - before.at
        news = [(at - newest) / 1000 for at, _, newest, _ in painted if newest]
        olds = [(at - oldest) / 1000 for at, oldest, _, _ in painted if oldest]
        return Figures(
            fps=len(painted) / took,
            new_p50=share_of(news, 0.5),
            new_p99=share_of(news, 0.99),
            old_p50=share_of(olds, 0.5),
            kernel=shares.kernel,
            feed=feed,
            browser=shares.browser,
            bytes=wire / max(sent, 1),
            nodes=after_counts["Nodes"] - counts["Nodes"],
            listeners=after_counts["JSEventListeners"] - counts["JSEventListeners"],
            others=shares.others,
        )


class Widget(Subject):
    """One of ours."""

    def __init__(self, page: NotebookPage, kind: str) -> None:
        super().__init__(page)
        self.kind = kind

    def show(self) -> None:
        self.page.run_cell(0)
        shown = self.page.widget(self.kind)
        shown.wait_painted(10)
        shown.element.evaluate("element => mlWatchWidget(element)")

    def sent(self) -> int:
        return int(self.page.ask("widget.frames_sent"))


class Figure(Subject):
    """A figure of plotly."""

    def __init__(self, page: NotebookPage, hertz: float) -> None:
        super().__init__(page)
        self.hertz = hertz

    def show(self) -> None:
        self.page.execute(notebook_cells.FIGURE.format(hertz=self.hertz, bars=BARS))
        self.page.run_cell(0)
        self.page.until("() => document.querySelector('.js-plotly-plot')?.on")
        self.page.evaluate("() => mlWatchPlotly(document.querySelector('.js-plotly-plot'))")
        self.page.until("() => mlSeen.length > 3")

    def sent(self) -> int:
        return int(self.page.ask("sent"))

    def drain(self) -> None:
        """Send nothing until all that was sent is painted."""
        self.page.execute("hertz = 0")
        self.pause(1.0)
        self.page.until("() => { const some = mlSeen.length; mlSeen.length = 0; return !some; }")

    def sustained(self, rates: Sequence[float], seconds: float) -> tuple[float, float]:
        """The first of these rates (hertz) at which it does not fall behind, and how many pictures a second it paints.

        Falling behind is to paint less than nine tenths of what is sent, or later and later.
        """
        painted_fps = 0.0
        for hertz in rates:
            self.drain()
            self.page.execute(f"hertz = {hertz}")
            self.pause(1.5)
            self.seen()
            sent = self.sent()
            self.pause(seconds)
            painted = self.seen()
            sent = self.sent() - sent
            third = len(painted) // 3
            ages = [(at - newest) / 1000 for at, _, newest, _ in painted]
            painted_fps = len(painted) / seconds
            first, last = share_of(ages[:third], 0.5), share_of(ages[-third:], 0.5)
            if third and len(painted) >= 0.9 * sent and last < 1.5 * first + 20:
                return hertz, painted_fps
        return rates[-1], painted_fps
