"""A watchlist as a static picture."""

from collections.abc import Sequence
from math import isfinite

import msgspec

from marketlab.widgets.picture import HEADER, Sheet, colours, number

__all__ = ["SINCE", "WatchPicture"]

SINCE = ("24 h", "1 h", "start")
"""What a change is against, by the number in a frame."""

_WIDTH = 460
_ROW = 30
_TOP = HEADER + 20
_SYMBOL, _SPARK, _LAST, _CHANGE, _SPREAD = 12, 108, 290, 372, 448
_SPARK_WIDTH = 90

Row = tuple[str, float, float, float, Sequence[float], int]
"""Symbol, last price, change as a fraction, spread in bps, closes, decimals."""


class WatchPicture(msgspec.Struct, frozen=True):
    """The picture of a list; `state` is the header's word."""

    exchange: str
    state: str
    selected: str = ""
    palette: str = "default"

    def svg(self, rows: Sequence[Row], since: int = 0) -> str:
        """Rows in their order; `since` says what the changes are against, as in `SINCE`."""
        symbols = ", ".join(row[0] for row in rows)
        sheet = Sheet(_WIDTH, _TOP + _ROW * len(rows) + 6, f"Watchlist of {symbols} on {self.exchange}, {self.state}")
        sheet.header([self.exchange, "1 symbol" if len(rows) == 1 else f"{len(rows)} symbols"], self.state)
        titles = ((_LAST, "last"), (_CHANGE, f"change {SINCE[since]}"), (_SPREAD, "spread bps"))
        sheet.text(_SYMBOL, HEADER + 15, "symbol", size=11)
        for x, name in titles:
            sheet.text(x, HEADER + 15, name, anchor="end", size=11)
        for place, row in enumerate(rows):
            self._row(sheet, _TOP + place * _ROW, row)
        return sheet.svg()

    def _row(self, sheet: Sheet, y: float, row: Row) -> None:
        symbol, last, change, spread, closes, decimals = row
        base = y + 20
        if symbol == self.selected:
            sheet.rect(0, y + 2, _WIDTH, _ROW - 4, "#777", 0.14)
            sheet.rect(0, y + 2, 3, _ROW - 4, "#1976d2")
        sheet.text(_SYMBOL, base, symbol, bold=True)
        sheet.text(_LAST, base, _told(last, decimals), anchor="end")
        chosen = colours(self.palette)
        fill = "#777" if not change or not isfinite(change) else chosen.up if change > 0 else chosen.down
        arrow = "▲ " if change > 0 else "▼ " if change < 0 else ""
        sheet.text(_CHANGE, base, f"{arrow}{_percent(change)}", anchor="end")
        sheet.text(_SPREAD, base, _told(spread, 2), anchor="end")
        points = _points(closes, y + 5, _ROW - 10)
        if len(points) > 1:
            sheet.line(points, fill, 1.25)


def _points(closes: Sequence[float], top: float, height: float) -> list[tuple[float, float]]:
    known = [(at, price) for at, price in enumerate(closes) if isfinite(price)]
    if not known:
        return []
    low, high = min(price for _, price in known), max(price for _, price in known)
    scale = height / (high - low) if high > low else 0.0
    step = _SPARK_WIDTH / (len(closes) - 1)
    return [(_SPARK + at * step, top + (high - price) * scale if scale else top + height / 2) for at, price in known]


def _told(value: float, decimals: int) -> str:
    return number(value, decimals) if isfinite(value) else "–"


def _percent(fraction: float) -> str:
    return f"{fraction * 100:+.2f}\u2009%".replace("-", "\u2212") if isfinite(fraction) else "–"
