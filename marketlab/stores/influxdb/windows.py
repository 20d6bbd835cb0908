"""Stretches of time, one after another, for a server that refuses to look at too much at once.

InfluxDB 3 Core refuses a question that would open more than 432 files (about 72 hours of one table), whatever else the
question says; only a shorter stretch of time helps. So the whole time is tried first, a stretch that is refused is
halved, and after one that was answered the next is twice as long again, as long as it brings few rows. Each time that was
too bold, more answers are waited for before it is tried again.
"""

from marketlab.stores.influxdb.layout import OLDEST, YOUNGEST

__all__ = ["Windows"]

_EPOCH, _FAR = 0, 4_102_444_800_000_000
_SHORTEST = 1_000_000
_MANY = 2_000_000
_MOST_PATIENCE = 16


class Windows:
    """From `start` until before `end` (microseconds since 1970 UTC; None: open).

    Open ends lie at 1970 and 2100 as far as halving goes; the first and the last stretch have no bound there.
    """

    def __init__(self, start: int | None, end: int | None) -> None:
        # Beyond what the server can hold there is nothing to ask for.
        if (start is not None and start >= YOUNGEST) or (end is not None and end <= OLDEST):
            start = end = _EPOCH
        start = None if start is None or start < OLDEST else start
        end = None if end is None or end > YOUNGEST else end
        self._from_open, self._to_open = start is None, end is None
        self._at = min(_EPOCH, end - 1 if end is not None else _EPOCH) if start is None else start
        self._end = max(_FAR, self._at + 1) if end is None else end
        self._width = self._end - self._at
        self._patience = self._left = 1
        self._grew = False

    @property
    def bounds(self) -> tuple[int | None, int | None] | None:
        """Start (inclusive) and end (exclusive) of the stretch to ask for now; None: all is done."""
        if self._at >= self._end:
            return None
        stop = self._at + self._width
        return None if self._from_open else self._at, None if self._to_open and stop >= self._end else stop

    def halve(self) -> bool:
        """Half of the stretch; False: it is as short as can be."""
        if self._width <= _SHORTEST:
            return False
        self._width //= 2
        if self._grew:
            self._patience = min(2 * self._patience, _MOST_PATIENCE)
        self._grew, self._left = False, self._patience
        return True

    def advance(self, rows: int) -> None:
        """The stretch was answered, with so many rows; on to the next."""
        self._at += self._width
        self._from_open = False
        if self._grew:
            self._patience = 1
        self._left -= 1
        self._grew = rows < _MANY and self._left <= 0
        if self._grew:
            self._width *= 2
            self._left = self._patience
        elif rows > 4 * _MANY:
            self._width = max(self._width // 2, _SHORTEST)
        self._width = min(self._width, self._end - self._at)
