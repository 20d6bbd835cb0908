"""What each widget of this process may send."""

from collections.abc import Iterable

from marketlab.widgets.seat import Seat

__all__ = ["LIVELY_S", "MESSAGES_PER_SECOND", "Budget"]

MESSAGES_PER_SECOND = 240.0
"""Frames a second of all widgets of this process together."""

LIVELY_S = 1.0
"""How long after its last news a widget still counts as one in which something happens."""

_SHARE_S = 0.1


class Budget:
    """What each of the widgets may send in which something happens."""

    def __init__(self) -> None:
        self._hz = MESSAGES_PER_SECOND
        self._until = 0.0

    def renew(self) -> None:
        """There is one more."""
        self._until = 0.0

    def share_hz(self, now: float, seats: Iterable[Seat]) -> float:
        """Frames a second of one of the seats; they are counted every now and then."""
        if now >= self._until:
            self._until = now + _SHARE_S
            lively = sum(now - seat.changed_at < LIVELY_S and seat.flow.watched for seat in seats)
            self._hz = MESSAGES_PER_SECOND / max(lively, 1)
        return self._hz
