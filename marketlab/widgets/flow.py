"""When the next frame of a widget may be sent: pure, with the time passed in.

Rules that hold in this file:

1. Frames go out at most `rate` times a second, and only as fast as the screen paints: more is never seen. Of all
   widgets together they are no more than there is a share for.
2. The browser reports four times a second the newest sequence that it has painted. More than a credit of frames that
   no page has acknowledged are never under way; a slower rate has fewer credits, so that what is under way is at
   most about a third of a second old.
3. The rate follows the age of the picture (additive increase, multiplicative decrease): the browser measures how much
   longer frames travel than the fastest one did, which needs no common clock.
4. Fail open: where no report has come for a second, the kernel may be too busy to hear one, so frames go on at
   `BLIND_HZ`, or slower where the link was too slow for that before. They never stop while a page may be open. One
   that was silent for a minute though it would have been
   heard is not: a laptop was closed, say, and the server would keep every frame for its return.
5. Nobody looks (every page said so): one frame a second, so that a page which is shown again has something at once.
   No page at all: none. A page that is silent while others speak counts for nothing, and is forgotten after a minute:
   one that was reloaded has no time to say that it goes.
6. Phase lock: the browser tells how long a frame waited for the paint; the next one is shifted, by half a frame at
   most, so that frames arrive `EARLY_S` before it. A timer that fires a little late delays no later frame: else they
   would drift past the screen's own.
7. Where pages differ the best one counts: the highest acknowledgement, the youngest picture; but for a page whose
   picture is seconds old, since the server keeps for it what it cannot take.
"""

from typing import Any

import msgspec

__all__ = ["BLIND_HZ", "CREDITS", "HEARTBEAT_S", "Flow", "Report"]

BLIND_HZ = 10.0
CREDITS = 30
EARLY_S = 0.005
HEARTBEAT_S = 1.0

_UNHEARD = ""
_BLIND_AFTER_S = 1.0
_SILENT_AFTER_S = 5.0
_GONE_AFTER_S = 60.0
_UNDER_WAY_S = 0.35
_FEWEST_CREDITS = 3
_LOWEST_HZ = 2.0
_OLD_S = 0.12
_VERY_OLD_S = 0.4
_KEPT_BACK_MS = 2_000.0
_FASTER_HZ = 3.0
_SLOWER = 0.75
_MUCH_SLOWER = 0.5
_PHASE_GAIN = 0.25
_LATE_S = 0.005


class Report(msgspec.Struct, frozen=True):
    """What a page says four times a second: durations in milliseconds, `painted` paints since its last report.

    `ack` is the newest sequence painted, `wait_ms` how long frames waited for the paint, `frame_ms` the screen's own
    rhythm, `age_ms` how much longer the newest frame travelled than the fastest.
    """

    page: str
    ack: int = 0
    wait_ms: float = 0.0
    frame_ms: float = 0.0
    age_ms: float = 0.0
    painted: int = 0
    visible: bool = True


class _Page:
    def __init__(self, at: float) -> None:
        self.heard = at
        self.visible = True
        self.age_ms = float("inf")  # it has not said yet


class Flow:
    """Decides when the frames of one widget are sent. Times are seconds that never run backwards.

    `whole` says that the next frames have to hold everything, since somebody has nothing yet; `sequence` and
    `acknowledged` are those of the newest frame sent and painted, `painted` counts paints.

    Args:
        rate: Frames a second, at most.
    """

    def __init__(self, rate: float = 60.0) -> None:
        self.rate = rate
        self.acknowledged = 0
        self.sequence = 0
        self.painted = 0
        self.whole = False
        self._pages: dict[str, _Page] = {}
        self._hz = rate
        self._frame_s = 1 / rate
        self._shift = 0.0
        self._sent = self._planned = -1.0
        self._frames = 1
        self._due = -1.0
        self._heard = -1.0

    @property
    def hz(self) -> float:
        """Frames a second that the browser keeps up with."""
        return self._hz

    @property
    def open(self) -> bool:
        """Whether any page shows the widget."""
        return bool(self._pages)

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return any(page.visible and self._heard - page.heard < _SILENT_AFTER_S for page in self._pages.values())

    def shown(self, now: float) -> None:
        """The widget was put into a cell's output; a page that shows it may be unable to say so for long."""
        if not self._pages:
            self.opened(_UNHEARD, now)

    def silent(self, now: float) -> bool:
        """Whether no page has said anything for a minute."""
        return now - self._heard > _GONE_AFTER_S

    def abandon(self) -> None:
        """No page is open, whatever was said; one that reports again is."""
        self._pages = {}

    def opened(self, page: str, now: float) -> None:
        """A view has opened: the next frame is due at once, whole, and nothing is known of what was painted."""
        # A new dictionary each time: other threads ask whether anybody looks.
        self._pages = {**self._pages, page: _Page(now)}
        if page != _UNHEARD:
            self.closed(_UNHEARD)
        self._heard = now
        self.whole = True
        self.acknowledged = self.sequence
        self._due = now

    def closed(self, page: str) -> None:
        """A page's last view has closed."""
        self._pages = {name: one for name, one in self._pages.items() if name != page}

    def report(self, report: Report, now: float) -> None:
        """A page has reported."""
        page = self._pages.get(report.page)
        if page is None:
            self.opened(report.page, now)
            page = self._pages[report.page]
        shown_again = report.visible and not page.visible
        page.heard, page.visible = now, report.visible
        if report.painted or not report.visible:  # else it says nothing of the age
            page.age_ms = report.age_ms
        self._heard = now
        self.painted += max(report.painted, 0)
        self.acknowledged = min(max(self.acknowledged, report.ack), self.sequence)
        if shown_again:
            self._due = now
            self.acknowledged = self.sequence
        elif report.visible and report.painted and self._decides(page, now):
            self._adapt(report)
        if len(self._pages) > 1:
            self._pages = {name: page for name, page in self._pages.items() if now - page.heard < _GONE_AFTER_S}

    def _decides(self, page: _Page, now: float) -> bool:
        ages = (one.age_ms for one in self._pages.values() if one.visible and now - one.heard < _BLIND_AFTER_S)
        return page.age_ms > _KEPT_BACK_MS or page.age_ms <= min(ages)

    def _adapt(self, report: Report) -> None:
        age = report.age_ms / 1000
        if age > _VERY_OLD_S:
            self._hz = max(self._hz * _MUCH_SLOWER, _LOWEST_HZ)
        elif age > _OLD_S:
            self._hz = max(self._hz * _SLOWER, _LOWEST_HZ)
        else:
            self._hz = min(self._hz + _FASTER_HZ, self.rate)
        if report.frame_ms > 0:
            self._frame_s = max(report.frame_ms / 1000, 1 / self.rate)
        # At most half a frame at once: a wait is only known up to whole frames.
        error = report.wait_ms / 1000 - EARLY_S
        self._shift = min(max(error * _PHASE_GAIN, -self._frame_s / 2), self._frame_s / 2)

    def sent(self, now: float, frames: int = 1) -> int:
        """Frames go out now; returns the sequence of the first one."""
        first = self.sequence + 1
        self.sequence += frames
        self._sent = self._planned if abs(now - self._planned) < _LATE_S else now
        self._due = -1.0
        self._frames = frames
        self._shift = 0.0
        self.whole = False
        return first

    def due(self, now: float, *, dirty: bool, share_hz: float = float("inf")) -> float | None:
        """When to look again: `now` or before means that a frame is due; None that only a report changes anything.

        Args:
            now: The time.
            dirty: Whether there is anything new to show.
            share_hz: Frames a second that this widget may send at most, since there are others.
        """
        if not self._pages:
            return None
        if self._sent < 0:
            return now
        if self._due >= 0:  # somebody has opened it, or looks at it again
            return self._due
        heartbeat = self._sent + HEARTBEAT_S
        if not dirty or not self.watched:
            return heartbeat
        fair = self._sent + self._frames / share_hz
        if now >= self._heard + _BLIND_AFTER_S:
            return max(self._sent + 1 / min(BLIND_HZ, self._hz, self.rate), fair)
        hz = min(self._hz, self.rate, 1 / self._frame_s)
        if self.sequence - self.acknowledged >= min(CREDITS, max(_FEWEST_CREDITS, hz * _UNDER_WAY_S)):
            return min(heartbeat, self._heard + _BLIND_AFTER_S)
        self._planned = max(self._sent + 1 / hz + self._shift, fair)
        return self._planned


def report_of(content: dict[str, Any]) -> Report:
    """A browser's message as a report.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.convert({name: value for name, value in content.items() if name != "type"}, Report, strict=False)
