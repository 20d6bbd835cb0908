"""Lines over the candles: moving averages, and the day's volume weighted average price."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from marketlab.errors import UsageError
from marketlab.widgets.kline_bars import DAY, MISSING, Anchor, Row

__all__ = ["Overlay", "line", "parse"]

_WRITTEN = re.compile(r"(sma|ema)[ (]?\s*([1-9]\d{0,3})\)?", re.IGNORECASE)
_LONGEST = 1_000


class Overlay(msgspec.Struct, frozen=True):
    """A line over the candles. `length` counts bars; 0 where there is no such thing."""

    kind: Literal["sma", "ema", "vwap"]
    length: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.length}" if self.length else self.kind


def parse(text: str) -> Overlay:
    """What a text such as `sma 20`, `ema 50` or `vwap` means.

    Raises:
        UsageError: nothing that could be drawn.
    """
    wanted = text.strip()
    if wanted.lower() == "vwap":
        return Overlay("vwap")
    written = _WRITTEN.fullmatch(wanted)
    if written is None or int(written[2]) > _LONGEST:
        raise UsageError(
            f"There is no overlay {text!r}: write 'sma 20' or 'ema 50' with a number of bars up to {_LONGEST:,}, or 'vwap'."
        )
    return Overlay("sma" if written[1].lower() == "sma" else "ema", int(written[2]))


def line(
    overlay: Overlay, rows: Sequence[Row], anchor: Anchor, interval_us: int, newest: int | None = None
) -> list[float | None]:
    """An overlay's value at each bar, or at the `newest` ones; None where there is none.

    A simple average needs all its bars, of which none may be missing. An exponential one begins with the simple one of
    its first bars. The volume weighted one begins anew with each UTC day and behind a missing bar, since nobody knows
    what was traded there, and is not drawn where a bar is a day or longer.
    """
    first = 0 if newest is None else max(len(rows) - newest, 0)
    if overlay.kind == "vwap":
        return _vwap(rows, anchor)[first:] if interval_us < DAY else [None] * (len(rows) - first)
    closes = [None if int(row[8]) & MISSING else row[4] for row in rows]
    return _sma(closes, overlay.length, first) if overlay.kind == "sma" else _ema(closes, overlay.length)[first:]


def _sma(closes: Sequence[float | None], length: int, first: int) -> list[float | None]:
    # Each sum on its own, so that none carries the errors of those before it.
    values: list[float | None] = []
    for end in range(first + 1, len(closes) + 1):
        last = [close for close in closes[max(end - length, 0) : end] if close is not None]
        values.append(sum(last) / length if len(last) == length else None)
    return values


def _ema(closes: Iterable[float | None], length: int) -> list[float | None]:
    values: list[float | None] = []
    first: list[float] = []
    value: float | None = None
    for close in closes:
        if close is None:
            values.append(None)
            continue
        if value is not None:
            value += (close - value) * 2 / (length + 1)
        else:
            first.append(close)
            if len(first) == length:
                value = sum(first) / length
        values.append(value)
    return values


def _vwap(rows: Sequence[Row], anchor: Anchor) -> list[float | None]:
    values: list[float | None] = []
    quote_volume, volume = anchor.quote_volume, anchor.volume
    day = anchor.time // DAY
    for row in rows:
        is_missing = int(row[8]) & MISSING
        if is_missing or int(row[0] // DAY) != day:
            day, quote_volume, volume = int(row[0] // DAY), 0.0, 0.0
        if not is_missing:
            quote_volume += row[6]
            volume += row[5]
        values.append(quote_volume / volume if volume else None)
    return values
