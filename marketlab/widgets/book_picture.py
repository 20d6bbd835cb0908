"""The static picture of an order book, in the layout of the live one: sizes to the left, their sum to the right."""

from collections.abc import Sequence
from itertools import accumulate

import msgspec

from marketlab.instruments import Instrument
from marketlab.widgets.contract import Flag, Frame
from marketlab.widgets.picture import HEADER, Sheet, colours, decimals_of, number

__all__ = ["BookPicture", "Shown", "shown"]

_WIDTH = 640
_ROW = 17
_SPREAD = 34
_TITLES = 24
_FOOT = 28
_MOST_ROWS = 20
_EDGE = 12.0
_MARKS = 16.0
_BARS, _SIZES, _PRICES, _TOTALS = 178.0, 266.0, 362.0, 450.0  # where these columns end


class Shown(msgspec.Struct, frozen=True):
    """What a BOOK frame says: levels as (price, size), best first, and the facts beside them."""

    bids: Sequence[tuple[float, float]]
    asks: Sequence[tuple[float, float]]
    best: tuple[float, float, float, float]
    compared: int
    equal: int
    group: float
    known: tuple[float, float]
    trades: Sequence[tuple[float, float, float]]

    def at_least(self, price: float) -> str:
        """What stands before the numbers of a joined level that reaches beyond the prices which are known."""
        lowest, highest = self.known
        return "≥" if self.group and any(self.known) and not lowest <= price <= highest else ""


def shown(frame: Frame) -> Shown:
    """A BOOK frame taken apart."""
    numbers = [value for column in frame.columns for value in column]
    n, m = frame.counts
    at = 2 * (n + m)
    bid, bid_size, ask, ask_size, compared, equal, group, lowest, highest = numbers[at : at + 9]
    trades = numbers[at + 9 + (n + m if group else 0) :]
    return Shown(
        list(zip(numbers[:n], numbers[n : 2 * n], strict=True)),
        list(zip(numbers[2 * n : 2 * n + m], numbers[2 * n + m : at], strict=True)),
        (bid, bid_size, ask, ask_size),
        int(compared),
        int(equal),
        group,
        (lowest, highest),
        list(zip(trades[::3], trades[1::3], trades[2::3], strict=True)),
    )


class BookPicture(msgspec.Struct, frozen=True):
    """What is drawn: names, what the data is doing, a BOOK frame if there is one, and how numbers are written."""

    exchange: str
    symbol: str
    state: str
    frame: Frame | None
    instrument: Instrument | None = None
    palette: str = "default"

    def svg(self) -> str:
        """The ladder; a line in the middle where there is no book yet."""
        book = shown(self.frame) if self.frame is not None else None
        rows = 6 if book is None else max(min(max(len(book.bids), len(book.asks)), _MOST_ROWS), 1)
        height = HEADER + _TITLES + 2 * rows * _ROW + _SPREAD + _FOOT
        sheet = Sheet(_WIDTH, height, f"Order book of {self.symbol} on {self.exchange}, {self.state}")
        if book is None:
            sheet.header([self.exchange, self.symbol], self.state)
            sheet.message(f"No book of {self.symbol} yet.")
            return sheet.svg()
        last = number(book.trades[0][0], self._decimals) if book.trades else ""
        sheet.header([self.exchange, self.symbol, f"{rows} level{'s' if rows > 1 else ''}"], self.state, last)
        self._titles(sheet)
        top = HEADER + _TITLES
        middle = top + rows * _ROW
        most = max((size for _, size in (*book.bids[:rows], *book.asks[:rows])), default=1.0)
        deepest = max(sum(size for _, size in side[:rows]) for side in (book.bids, book.asks)) or 1.0
        self._side(sheet, book, book.asks[:rows], (middle - _ROW, -_ROW), (most, deepest))
        self._spread(sheet, book, middle)
        self._side(sheet, book, book.bids[:rows], (middle + _SPREAD, _ROW), (most, deepest))
        self._foot(sheet, book, height)
        return sheet.svg()

    def _titles(self, sheet: Sheet) -> None:
        unit = f" ({self.instrument.base})" if self.instrument is not None and self.instrument.base else ""
        for x, words in ((_SIZES, f"Size{unit}"), (_PRICES, "Price"), (_TOTALS, "Total")):
            sheet.text(x - 8, HEADER + 16, words, anchor="end", size=11)

    def _side(
        self,
        sheet: Sheet,
        book: Shown,
        levels: Sequence[tuple[float, float]],
        place: tuple[float, float],
        scale: tuple[float, float],
    ) -> None:
        first, step = place
        most, deepest = scale
        up = step > 0  # bids go down the page
        fill = colours(self.palette).up if up else colours(self.palette).down
        totals = list(accumulate(size for _, size in levels))
        if not levels:
            sheet.text(_WIDTH / 2, first + 12, "no bids" if up else "no asks", anchor="middle")
            return
        corners: list[tuple[float, float]] = []
        for row, ((price, size), total) in enumerate(zip(levels, totals, strict=True)):
            y = first + row * step
            width = size / most * (_BARS - _EDGE - _MARKS)
            sheet.rect(_BARS - width, y + 1, width, _ROW - 2, fill, 0.35)
            sheet.rect(_BARS - width, y + 1, min(2, width), _ROW - 2, fill)
            x = _TOTALS + total / deepest * (_WIDTH - _EDGE - _TOTALS)
            corners += [(x, y + (0 if up else _ROW)), (x, y + (_ROW if up else 0))]
            least = book.at_least(price)
            sheet.text(_SIZES - 8, y + 13, least + self._size(size), anchor="end")
            sheet.text(_PRICES - 8, y + 13, self._price(price, book), anchor="end", bold=row == 0)
            sheet.text(_TOTALS - 8, y + 13, least + self._size(total), anchor="end")
            if _traded(book, price, asks=not up):
                sheet.text(_EDGE + 4, y + 13, "▼" if up else "▲", anchor="middle", size=10)
        sheet.area([(_TOTALS, corners[0][1]), *corners, (_TOTALS, corners[-1][1])], fill, 0.16)
        sheet.line(corners, fill, 1.25)

    def _spread(self, sheet: Sheet, book: Shown, top: float) -> None:
        bid, bid_size, ask, ask_size = book.best
        if not (bid and ask):
            return
        middle = (bid + ask) / 2
        words = "crossed by" if ask < bid else "spread"
        base = top + 15
        bps = (ask - bid) / middle * 10_000
        spread = f"{words} {number(abs(ask - bid), self._decimals)} · {bps:.{2 if abs(bps) >= 0.1 else 4}f} bps"
        sheet.text(_SIZES - 8, base, spread, anchor="end", size=11)
        micro = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
        sheet.text(_PRICES - 8, base, number(micro, self._decimals + 1), anchor="end", bold=True)
        bids, asks = (sum(size for _, size in side) for side in (book.bids, book.asks))
        share = bids / (bids + asks) if bids + asks else 0.5
        sheet.text(_PRICES, base, "microprice", size=11)
        sheet.text(_WIDTH - _EDGE, base, f"{share:.0%} bids · {1 - share:.0%} asks", anchor="end", size=11)
        width = _WIDTH - 2 * _EDGE
        sheet.rect(_EDGE, top + 23, width * share - 1, 4, colours(self.palette).up)
        sheet.rect(_EDGE + width * share + 1, top + 23, width * (1 - share) - 1, 4, colours(self.palette).down)

    def _foot(self, sheet: Sheet, book: Shown, height: float) -> None:
        frame = self.frame
        assert frame is not None
        ended = "the last levels" if self.state.endswith("stopped") else "not verified"
        words = "✓ verified" if Flag.VERIFIED in frame.flags else ended
        if book.compared:
            words += f" · {number(book.equal, 0)} of {number(book.compared, 0)} of the exchange's quotes equal"
        sheet.line([(0, height - _FOOT + 4), (_WIDTH, height - _FOOT + 4)], "#7773")
        sheet.text(_EDGE, height - 8, words, size=11)
        group = f"in steps of {book.group:g} · " if book.group else ""
        sheet.text(_WIDTH - _EDGE, height - 8, f"{group}id {frame.id}", anchor="end", size=11)

    @property
    def _decimals(self) -> int:
        tick = self.instrument.tick if self.instrument is not None else 0.0
        return decimals_of(tick, 2)

    def _price(self, price: float, book: Shown) -> str:
        return number(price, decimals_of(book.group) if book.group else self._decimals)

    def _size(self, size: float) -> str:
        step = self.instrument.step if self.instrument is not None else 0.0
        return number(size, decimals_of(step, 5))


def _traded(book: Shown, price: float, *, asks: bool) -> bool:
    """Whether one of the newest trades took from a level: who buys takes from asks, which are rounded up."""
    sign, noise = 1 if asks else -1, 1e-9 * price
    away = (sign * (price - traded) for traded, size, _ in book.trades if (size > 0) == asks)
    return any(-noise <= distance < max(book.group - noise, noise) for distance in away)
