"""What is tried: each gives numbers, none judges."""

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.live_widgets import notebook_cells
from benchmarks.live_widgets.measuring import BARS, Bench, Figures, Subject, share_of
from tests.browser.slow_link import SlowLink

KINDS = ("book_ladder", "kline_chart")
PLOTLY = "plotly"
MESSAGES = "messages"
SCREEN_HZ = 60.0
FRAME_BYTES = 800
PLOTLY_HZ = 30.0
RATES = (60.0, 50.0, 40.0, 30.0, 25.0, 20.0, 15.0, 10.0, 5.0)
RERUNS = 100
TRIES = 3
SLOW_BYTES_S = 40_000.0
_SLOW_SETTLE_S = 15.0
_SLOW_S = 20.0
_HEAP_EVERY_S = 20.0
_HEAP_WARM_UP = 0.25  # of the time; compiled code and caches come first


class Left(NamedTuple):
    """What is there after a cell was run again and again."""

    pumps: int
    seats: int
    views: int


def measured(subject: Subject, seconds: float) -> Figures:
    """Show it and measure it, with the feed alone before; again where the machine was busy with something else."""
    feed = subject.idle(seconds)
    subject.show()
    tried: list[Figures] = []
    while len(tried) < TRIES and not any(figures.calm for figures in tried):
        tried.append(subject.measure(seconds, feed))
    return min(tried, key=lambda figures: (not figures.calm, figures.late_ms))


def one(bench: Bench, kind: str, seconds: float) -> Figures:
    """A trial by its name."""
    if kind in KINDS:
        return widget(bench, kind, seconds)
    return {PLOTLY: plotly, MESSAGES: messages}[kind](bench, seconds)


def widget(bench: Bench, kind: str, seconds: float) -> Figures:
    with bench.widget(kind) as subject:
        return measured(subject, seconds)


def plotly(bench: Bench, seconds: float) -> Figures:
    with bench.figure(PLOTLY_HZ) as subject:
        return measured(subject, seconds)


def messages(bench: Bench, seconds: float) -> Figures:
    """What Jupyter itself takes to send as many frames as a widget does; nothing is drawn."""
    with bench.messages(SCREEN_HZ, FRAME_BYTES) as subject:
        return measured(subject, seconds)


def sustained(bench: Bench, seconds: float) -> tuple[float, float]:
    """The highest rate (hertz) that plotly sustains, and its pictures a second; zeros where it sustains none."""
    with bench.figure(PLOTLY_HZ) as subject:
        subject.show()
        for hertz in RATES:
            painted = subject.sustains(hertz, seconds)
            if painted is not None:
                return hertz, painted
    return 0.0, 0.0


def reruns(bench: Bench, count: int = RERUNS) -> Left:
    """Run a widget's cell so many times."""
    with bench.widget(KINDS[0]) as subject:
        for _ in range(count):
            subject.page.run_cell(0)
        subject.page.widget(KINDS[0]).wait_painted(10)
        pumps, seats = subject.page.ask(notebook_cells.SERVED)
        views = subject.page.evaluate("() => document.querySelectorAll('.ml-widget').length")
        return Left(pumps, seats, views)


def slow_link(bench: Bench, kind: str) -> tuple[float, float]:
    """Seconds that the picture is old on a slow link, at moments evenly spaced: the median, and the worst."""
    with SlowLink(bench.laboratory.port) as link, bench.widget(kind, at=link.url) as subject:
        subject.show()
        link.limit(SLOW_BYTES_S)
        subject.pause(_SLOW_SETTLE_S)
        subject.page.evaluate("() => mlWatchAge(document.querySelector('.ml-widget'))")
        subject.pause(_SLOW_S)
        ages = subject.page.evaluate("() => mlAges")
        link.limit(None)
        return share_of(ages, 0.5) / 1000, max(ages) / 1000


def soak(bench: Bench, minutes: float) -> dict[str, float]:
    """How fast the heap grows, in bytes a second: of a notebook with each widget, and of one with a feed only.

    All run at once, each in a browser context, and so a heap, of its own.
    """
    cells = {name: notebook_cells.WIDGETS[name].format(bars=BARS) for name in KINDS} | {"control": "feed.running"}
    with ExitStack() as open_notebooks:
        pages = {name: open_notebooks.enter_context(bench.notebook(cell)) for name, cell in cells.items()}
        for page in pages.values():
            page.run_cell(0)
        wait = next(iter(pages.values())).page.wait_for_timeout
        wait(minutes * 60_000 * _HEAP_WARM_UP)
        points: dict[str, list[tuple[float, float]]] = {name: [] for name in pages}
        begun = time.monotonic()
        while time.monotonic() - begun < minutes * 60:
            for name, page in pages.items():
                points[name].append((time.monotonic() - begun, page.counts()["JSHeapUsedSize"]))
            wait(min(_HEAP_EVERY_S, minutes * 6) * 1000)
    return {name: slope(seen) for name, seen in points.items()}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs of points: a hiccup does not count."""
    pairs = ((one, other) for place, one in enumerate(points) for other in points[place + 1 :])
    return statistics.median((other[1] - one[1]) / (other[0] - one[0]) for one, other in pairs)
