"""A link of limited speed between a `Flow` and a page that paints, in simulated time: the same run every time."""

from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from marketlab.widgets.flow import Flow, Report

__all__ = ["Moment", "on_a_link"]

STEP_S = 0.001
SCREEN_S = 1 / 60
REPORT_S = 0.25


class Moment(msgspec.Struct, frozen=True):
    """What is true at one time: how much longer than now the link is busy, and the rate."""

    at: float
    queue_s: float
    hz: float


class _Page:
    """Paints the newest frame at each refresh of the screen and reports as the JavaScript does."""

    def __init__(self) -> None:
        self._fastest = float("inf")
        self._fresh: tuple[float, int] | None = None
        self._clear()
        self._acknowledged = 0

    def _clear(self) -> None:
        self._late = self._wait = 0.0
        self._painted = 0

    def receive(self, now: float, sequence: int, sent: float) -> None:
        self._fastest = min(self._fastest, now - sent)
        self._late = now - sent - self._fastest
        self._fresh = (now, sequence)

    def paint(self, now: float) -> None:
        if self._fresh is not None:
            arrived, self._acknowledged = self._fresh
            self._painted, self._wait, self._fresh = self._painted + 1, now - arrived, None

    def report(self) -> Report:
        told = Report("page", self._acknowledged, self._wait * 1e3, SCREEN_S * 1e3, self._late * 1e3, self._painted)
        self._clear()
        return told


def on_a_link(
    seconds: float, bytes_per_s: Callable[[float], float], *, frame_bytes: int = 1300, trip_s: float = 0.02
) -> Iterator[Moment]:
    """Always something new to send, over a link of which `bytes_per_s(time)` tells the speed."""
    flow, page = Flow(60), _Page()
    flow.opened("page", 0.0)
    under_way: deque[tuple[float, int, float]] = deque()
    reports: deque[tuple[float, Report]] = deque()
    free_at = paint_at = 0.0
    report_at = REPORT_S
    for step in range(int(seconds / STEP_S)):
        now = step * STEP_S
        while reports and reports[0][0] <= now:
            flow.report(reports.popleft()[1], now)
        due = flow.due(now, dirty=True)
        if due is not None and due <= now:
            free_at = max(free_at, now) + frame_bytes / bytes_per_s(now)
            under_way.append((free_at + trip_s, flow.sent(now), now))
        while under_way and under_way[0][0] <= now:
            _, sequence, sent = under_way.popleft()
            page.receive(now, sequence, sent)
        if now >= paint_at:
            paint_at += SCREEN_S
            page.paint(now)
        if now >= report_at:
            report_at += REPORT_S
            reports.append((now + trip_s, page.report()))
        yield Moment(now, max(free_at - now, 0.0), flow.hz)
