"""Opens a notebook, shows something in it and measures that: what the kernel, the link and the browser have to do."""

import statistics
import time
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
    has nothing to do with this, `late_ms` how late this process woke up from one sleep in twenty.
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
    late_ms: float

    @property
    def calm(self) -> bool:
        """Whether the machine had nothing else to do, and all of its processors."""
        return self.others <= 0.2 and self.late_ms <= 1.5

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
    def messages(self, hertz: float, size: int) -> Iterator["Subject"]:
        """A notebook in which nothing but messages is sent, once it is shown."""
        with self.notebook("widget") as page:
            yield Messages(page, hertz, size)

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

    def wire(self) -> float:
        """Bytes that came over WebSockets until now."""
        return float(self.page.evaluate("() => mlWire.bytes"))

    def seen(self) -> list[list[float]]:
        """What was painted since the last call."""
        return list(self.page.evaluate("() => mlSeen.splice(0)"))

    def begin(self, seconds: float) -> None:
        """Show changes for so long."""

    def end(self) -> None:
        """Wait until all that was sent is painted."""

    def measure(self, seconds: float, feed: float) -> Figures:
        """Watch it for a while; `feed` is what `idle` gave."""
        counts, sent, wire = self.page.counts(), self.sent(), self.wire()
        self.seen()
        self.begin(WARM_UP_S + seconds)
        self.pause(WARM_UP_S)
        begun, before = time.time() * 1e6, machine.used(self.kernel)
        with machine.Pulse() as pulse:
            self.pause(seconds)
        ended, after = time.time() * 1e6, machine.used(self.kernel)
        self.end()
        painted = [stamps for stamps in self.seen() if begun <= stamps[0] < ended]
        wire, sent, after_counts = self.wire() - wire, self.sent() - sent, self.page.counts()
        shares = after.since(before)
        news = [(at - newest) / 1000 for at, _, newest, _ in painted if newest]
        olds = [(at - oldest) / 1000 for at, oldest, _, _ in painted if oldest]
        return Figures(
            fps=len(painted) / (ended - begun) * 1e6,
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
            late_ms=pulse.late_ms,
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


class Messages(Subject):
    """A bare widget: what Jupyter itself takes for so many messages, and reports four times a second."""

    def __init__(self, page: NotebookPage, hertz: float, size: int) -> None:
        super().__init__(page)
        self.hertz = hertz
        self.size = size

    def show(self) -> None:
        self.page.execute(notebook_cells.MESSAGES.format(hertz=self.hertz, size=self.size))
        self.page.run_cell(0)
        self.page.until("() => document.querySelector('.bare')")
        self.page.evaluate("() => { window.mlSeen = []; }")

    def sent(self) -> int:
        return int(self.page.ask("sent"))


class Figure(Subject):
    """A figure of plotly. It is stopped from the kernel: a page that has too much to paint answers late."""

    def __init__(self, page: NotebookPage, hertz: float) -> None:
        super().__init__(page)
        self.hertz = hertz

    def show(self) -> None:
        self.page.execute(notebook_cells.FIGURE.format(bars=BARS))
        self.page.run_cell(0)
        self.page.until("() => document.querySelector('.js-plotly-plot')?.on")
        self.page.evaluate("() => mlWatchPlotly(document.querySelector('.js-plotly-plot'))")
        self.page.until("() => mlSeen.length > 3")
        self.page.execute("pause()")

    def sent(self) -> int:
        return int(self.page.ask("sent"))

    def begin(self, seconds: float) -> None:
        self.page.execute(f"play({self.hertz}, {seconds})")

    def end(self) -> None:
        self.pause(1.0)
        self.page.until(
            "() => { const now = mlSeen.length, was = mlSeen.before; mlSeen.before = now; return was === now; }"
        )

    def sustains(self, hertz: float, seconds: float) -> float | None:
        """Pictures a second at this rate; None where it falls behind: paints less than is sent, or later and later."""
        self.hertz = hertz
        self.seen()
        sent = self.sent()
        self.begin(seconds)
        self.pause(seconds)
        self.end()
        painted, sent = self.seen(), self.sent() - sent
        ages = [at - newest for at, _, newest, _ in painted]
        third = len(ages) // 3
        first, last = share_of(ages[:third], 0.5), share_of(ages[-third:], 0.5)
        keeps_up = third and len(painted) >= 0.9 * sent and last < 1.5 * first + 20_000
        return len(painted) / (painted[-1][0] - painted[0][0]) * 1e6 if keeps_up else None
