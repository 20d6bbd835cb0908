"""Newest trades as a static picture."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import log1p

import msgspec

from marketlab.records import Trade
from marketlab.widgets.picture import HEADER, Sheet, colours, number

__all__ = ["TradePicture"]

_WIDTH = 460
_ROW = 19
_TOP = HEADER + 20
_TIME, _PRICE, _SIZE = 12, 250, 400
_FULL = 130


class TradePicture(msgspec.Struct, frozen=True):
    """The picture of a symbol's trades; `decimals` are those of prices and sizes, `state` the header's word."""

    exchange: str
    symbol: str
    state: str
    least: float = 0.0
    decimals: tuple[int, int] = (2, 5)
    palette: str = "default"

    def svg(self, trades: Sequence[Trade], large: float, largest: float) -> str:
        """Trades, the newest first.

        Args:
            trades: as many as there are to be rows.
            large: the size from which on one stands out.
            largest: the size whose bar is full.
        """
        sheet = Sheet(_WIDTH, _TOP + _ROW * max(len(trades), 8) + 8, f"Newest trades of {self.symbol}, {self.state}")
        words = [self.exchange, self.symbol, *([f"from {self.least:g}"] if self.least else [])]
        if not trades:
            sheet.header(words, self.state)
            which = f"trade of {self.symbol}" + (f" of {self.least:g} or more" if self.least else "")
            sheet.message(f"No {which} has come yet.")
            return sheet.svg()
        sheet.header(words, self.state, number(trades[0].price, self.decimals[0]))
        for x, name, anchor in ((_TIME, "time (UTC)", "start"), (_PRICE, "price", "end"), (_SIZE, "size", "end")):
            sheet.text(x, HEADER + 15, name, anchor=anchor, size=11)
        for row, trade in enumerate(trades):
            self._row(sheet, _TOP + row * _ROW, trade, trade.size >= large, largest)
        return sheet.svg()

    def _row(self, sheet: Sheet, y: float, trade: Trade, large: bool, largest: float) -> None:
        chosen = colours(self.palette)
        fill = chosen.up if trade.side == "buy" else chosen.down
        share = log1p(9999 * trade.size / largest) / log1p(9999) if largest else 0.0
        sheet.rect(_SIZE + 6 - _FULL * share, y + 2, _FULL * share, _ROW - 4, fill, 0.55 if large else 0.22)
        base = y + 14
        moment = datetime.fromtimestamp(trade.time / 1_000_000, UTC)
        sheet.text(_TIME, base, f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}")
        sheet.text(_PRICE, base, number(trade.price, self.decimals[0]), anchor="end", bold=large)
        sheet.text(_SIZE, base, number(trade.size, self.decimals[1]), anchor="end", bold=large)
        sheet.text(_SIZE + 18, base, "▲ buy" if trade.side == "buy" else "▼ sell", size=11)
