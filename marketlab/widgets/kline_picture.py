"""The static picture of klines, in the layout of the live chart: candles over volume in the lower fifth."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from marketlab.widgets.kline_bars import DAY, HEALED, MISSING, PARTIAL, Anchor, Row, change_of
from marketlab.widgets.kline_overlays import Overlay, line
from marketlab.widgets.picture import HEADER, Sheet, colours, number, state_word

__all__ = ["KlinePicture", "Look"]

_WIDTH, _HEIGHT = 860, 420
_BARS = 120
_TOP, _FOOT = HEADER + 26.0, 24.0
_VOLUME = 0.2
_LINES = ("#e6a100", "#5b8def", "#b06fd8", "#8a8a8a")
_AMBER = "#e69f00"
_GRID = "#7772"
_STEPS_S = (5, 15, 30, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 604_800, 2_592_000, 31_536_000)
_TIMES = 8


class Look(msgspec.Struct, frozen=True):
    """How klines are drawn: lines over them, colours, and decimals of prices and sizes."""

    overlays: tuple[Overlay, ...] = ()
    palette: str = "default"
    price_decimals: int = 2
    size_decimals: int = 5


class KlinePicture(msgspec.Struct, frozen=True):
    """What is drawn, but for the bars."""

    exchange: str
    symbol: str
    interval: str
    origin: str
    look: Look
    running: bool = True
    connected: bool = True

    def svg(self, rows: Sequence[Row], anchor: Anchor, interval_us: int) -> str:
        """The newest bars; a line in the middle where there is none."""
        sheet = Sheet(_WIDTH, _HEIGHT, f"Klines of {self.symbol} on {self.exchange}, {self.interval}")
        known = [row for row in rows if not int(row[8]) & MISSING]
        names = [self.exchange, self.symbol, self.interval]
        if not known:
            sheet.header(names, state_word(self.origin, running=self.running, connected=self.connected))
            sheet.message(f"No klines of {self.symbol} yet: wait for the first record.")
            return sheet.svg()
        change = change_of(rows)
        state = state_word(self.origin, running=self.running, connected=self.connected)
        last = number(known[-1][4], self.look.price_decimals)
        if not math.isnan(change):
            last += f"\u2002{_arrow(change)} {_percent(change)}"
        sheet.header(names, state, last)
        lines = [line(overlay, rows, anchor, interval_us, newest=_BARS) for overlay in self.look.overlays]
        _Plot(sheet, rows[-_BARS:], lines, self.look).draw()
        return sheet.svg()


class _Plot:
    def __init__(self, sheet: Sheet, rows: Sequence[Row], lines: list[list[float | None]], look: Look) -> None:
        self.sheet = sheet
        self.rows = rows
        self.lines = lines
        self.look = look
        self.known = [(at, row) for at, row in enumerate(rows) if not int(row[8]) & MISSING]
        drawn = [value for line in lines for value in line if value is not None]
        low = min(min(row[3] for _, row in self.known), *drawn, math.inf)
        high = max(max(row[2] for _, row in self.known), *drawn, -math.inf)
        # An average may differ from the only price by what floats round off; that is no range to draw.
        unit = 10.0**-look.price_decimals
        spare = (high - low) * 0.06 if high - low >= unit else max(high * 0.001, unit)
        self.low, self.high = low - spare, high + spare
        self.right = _WIDTH - 16.0 - 7.2 * len(number(high, look.price_decimals))
        self.bottom = _HEIGHT - _FOOT
        self.floor = self.bottom - (self.bottom - _TOP) * (_VOLUME + 0.03)
        # A few bars spread over the whole width would be beams.
        self.step = min((self.right - 10) / max(len(rows), 1), 14.0)

    def x(self, at: float) -> float:
        return self.right - (len(self.rows) - at - 0.5) * self.step

    def y(self, price: float) -> float:
        return self.floor - (price - self.low) / (self.high - self.low) * (self.floor - _TOP)

    def draw(self) -> None:
        self._legend()
        self._prices()
        self._times()
        self._marks()
        self._volumes()
        self._candles()
        for overlay, values, stroke in zip(self.look.overlays, self.lines, _strokes(), strict=False):
            for points in self._runs(values, breaks=overlay.kind == "vwap"):
                self.sheet.line(points, stroke, 1.4)
        self._last()

    def _legend(self) -> None:
        row = self.known[-1][1]
        names = zip("OHLC", row[1:5], strict=True)
        # Spaces that SVG does not join.
        prices = "\u2002".join(f"{name} {number(value, self.look.price_decimals)}" for name, value in names)
        volume = number(row[5], min(self.look.size_decimals, 3))
        words = f"{_moment(row[0]):%Y-%m-%d %H:%M} UTC\u2002{prices}\u2002V {volume}"
        self.sheet.text(10, HEADER + 18, words, size=11)
        x = _WIDTH - 10.0
        for overlay, stroke in reversed(list(zip(self.look.overlays, _strokes(), strict=False))):
            name = str(overlay).upper()
            self.sheet.text(x, HEADER + 18, name, anchor="end", size=11)
            x -= 8.4 * len(name) + 18
            self.sheet.line([(x, HEADER + 14), (x + 14, HEADER + 14)], stroke, 2)
            x -= 12

    def _prices(self) -> None:
        step = _round_step((self.high - self.low) / 6)
        decimals = max(min(-math.floor(math.log10(step)), self.look.price_decimals), 0)
        for times in range(math.ceil(self.low / step), math.ceil(self.high / step)):
            price = times * step
            y = self.y(price)
            self.sheet.line([(0, y), (self.right, y)], _GRID)
            if abs(y - self.y(self.known[-1][1][4])) > 14:
                self.sheet.text(_WIDTH - 8, y + 4, number(price, decimals), anchor="end", size=11)

    def _times(self) -> None:
        first, last = self.rows[0][0], self.rows[-1][0]
        step = next((step for step in _STEPS_S if (last - first) / 1e6 <= step * _TIMES), _STEPS_S[-1]) * 1_000_000
        former = math.nan
        for at, row in enumerate(self.rows):
            begins = row[0] // step != former
            if begins and at and 24 < self.x(at) < self.right - 20:
                self.sheet.line([(self.x(at), _TOP), (self.x(at), self.bottom)], _GRID)
                self.sheet.text(self.x(at), _HEIGHT - 8, _time(row[0], step), anchor="middle", size=11)
            former = row[0] // step

    def _marks(self) -> None:
        for at, row in enumerate(self.rows):
            if int(row[8]) & (MISSING | PARTIAL):
                self.sheet.rect(self.x(at) - self.step / 2, _TOP, self.step, self.bottom - _TOP, _AMBER, 0.16)
            elif int(row[8]) & HEALED:
                x = self.x(at)
                self.sheet.line([(x, _TOP), (x, self.bottom)], _AMBER, 1, "2 3")

    def _volumes(self) -> None:
        most = max(row[5] for _, row in self.known) or 1.0
        for at, row in self.known:
            height = row[5] / most * (self.bottom - _TOP) * _VOLUME
            fill, width = self._fill(row), max(self.step * 0.7, 1.0)
            self.sheet.rect(self.x(at) - width / 2, self.bottom - height, width, height, fill, 0.35)

    def _candles(self) -> None:
        width = max(self.step * 0.7, 1.0)
        for at, row in self.known:
            x, fill = self.x(at), self._fill(row)
            top, bottom = self.y(max(row[1], row[4])), self.y(min(row[1], row[4]))
            self.sheet.line([(x, self.y(row[2])), (x, top)], fill)
            self.sheet.line([(x, bottom), (x, self.y(row[3]))], fill)
            if row[4] < row[1] or bottom - top < 1.5:
                self.sheet.rect(x - width / 2, top, width, max(bottom - top, 1.0), fill)
                continue
            # Lighter inside, so that colour is not all that tells up from down.
            left, right = x - width / 2 + 0.5, x + width / 2 - 0.5
            self.sheet.area([(left, top), (right, top), (right, bottom), (left, bottom)], fill, 0.28)
            self.sheet.line([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], fill)

    def _last(self) -> None:
        row = self.known[-1][1]
        y, fill = self.y(row[4]), self._fill(row)
        self.sheet.line([(0, y), (self.right, y)], fill, 1, "2 2")
        self.sheet.rect(self.right + 2, y - 9, _WIDTH - self.right - 4, 18, fill)
        ground = "#ffffff" if self.look.palette == "cvd" and row[4] >= row[1] else "#101010"
        words = number(row[4], self.look.price_decimals)
        self.sheet.text(_WIDTH - 8, y + 4, words, anchor="end", size=11, fill=ground, bold=True)

    def _runs(self, values: Sequence[float | None], *, breaks: bool) -> list[list[tuple[float, float]]]:
        """Stretches of a line without a hole; one that begins anew with the day `breaks` there."""
        runs: list[list[tuple[float, float]]] = [[]]
        for at, value in enumerate(values):
            if value is None or (breaks and self.rows[at][0] % DAY == 0):
                runs.append([])
            if value is not None:
                runs[-1].append((self.x(at), self.y(value)))
        return [run for run in runs if len(run) > 1]

    def _fill(self, row: Row) -> str:
        chosen = colours(self.look.palette)
        return chosen.up if row[4] >= row[1] else chosen.down


def _strokes() -> Iterable[str]:
    while True:
        yield from _LINES


def _round_step(rough: float) -> float:
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(unit * times for times in (1, 2, 5, 10) if unit * times >= rough)


def _moment(time: float) -> datetime:
    return datetime.fromtimestamp(time / 1_000_000, UTC)


def _time(time: float, step: float) -> str:
    moment = _moment(time)
    if step >= 30 * DAY:
        return f"{moment:%Y-%m}"
    if step >= DAY or time % DAY == 0:
        return f"{moment:%m-%d}"
    return f"{moment:%H:%M:%S}" if step < 60_000_000 else f"{moment:%H:%M}"


def _arrow(change: float) -> str:
    return "▲" if change > 0 else "▼" if change < 0 else "■"


def _percent(change: float) -> str:
    sign = "+" if change > 0 else "\u2212" if change < 0 else "±"
    return f"{sign}{abs(change) * 100:.2f}\u2009%"
