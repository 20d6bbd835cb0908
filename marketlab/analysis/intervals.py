"""Lengths of time as people write them: `1m`, `4h`, `7d`, `1w`, `1M`.

The unit is case-sensitive, as on the exchanges: `m` is a minute and `M` a month.
"""

import re
from datetime import timedelta

import msgspec

from marketlab.errors import UsageError

__all__ = ["Interval", "interval", "window"]

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_DAY = timedelta(days=1)
_TEXT = re.compile(r"([1-9][0-9]{0,5})([smhdwM])")


class Interval(msgspec.Struct, frozen=True):
    """The length of a bar. `length` is None for the month, the only one that varies."""

    text: str
    length: timedelta | None

    def holds(self, smaller: timedelta) -> bool:
        """Whether bars of this other length fill this one without a rest."""
        whole = _DAY if self.length is None else self.length
        return smaller <= whole and not whole % smaller


def interval(text: str) -> Interval:
    """The bar length of that name: whole fractions of a day, any number of days, one week, one month.

    Raises:
        UsageError: bars of that length have no boundaries that everybody agrees on.
    """
    found = _TEXT.fullmatch(text)
    if found:
        count, unit = int(found[1]), found[2]
        if unit == "M" and count == 1:
            return Interval(text, None)
        if unit in "smhd" or text == "1w":
            length = count * _UNITS[unit]
            if unit in "dw" or not _DAY % length:
                return Interval(text, length)
    raise UsageError(
        f"{text!r} is not an interval; write seconds, minutes or hours that divide a day, days, one week or one month: "
        "1s, 5m, 1h, 4h, 1d, 3d, 1w, 1M."
    )


def window(text: str) -> timedelta:
    """A span to look back over: any count of seconds, minutes, hours, days or weeks.

    Raises:
        UsageError: the text is no such span.
    """
    found = _TEXT.fullmatch(text)
    if not found or found[2] not in _UNITS:
        raise UsageError(f"{text!r} is not a window; write a number and s, m, h, d or w: 30s, 15m, 1h, 24h, 7d, 4w.")
    return int(found[1]) * _UNITS[found[2]]
