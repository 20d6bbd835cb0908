"""How long to wait before a store is asked again, by what it said the last time.

1. Away: pauses that double up to a ceiling, shortened by chance, so that those who lost one server do not come back
   all at once.
2. `Retry-After`: as long as the store asks for, though never longer than an hour.
3. Denied: at a slow pace from the beginning, since only a person can mend that.
"""

import random
from collections.abc import Callable, Iterator

from marketlab.errors import StoreDenied, StoreUnavailable

__all__ = ["Patience", "backoff"]

_LONGEST_S = 3600.0


def backoff(first: float = 0.5, ceiling: float = 30.0, chance: Callable[[], float] = random.random) -> Iterator[float]:
    """Pauses in seconds that double up to a ceiling, each shortened by chance to no less than its half."""
    pause = first
    while True:
        yield pause * (0.5 + chance() / 2)
        pause = min(ceiling, pause * 2)


class Patience:
    """Pauses between tries. `delays` gives endless pauses in seconds, anew for each failure that lasts."""

    def __init__(self, delays: Callable[[], Iterator[float]], denied: float) -> None:
        self._delays = delays
        self._denied = denied
        self._pauses = delays()

    def renew(self) -> None:
        """The next pause is a first one."""
        self._pauses = self._delays()

    def pause(self, error: StoreUnavailable) -> float:
        """Seconds until the next try."""
        if isinstance(error, StoreDenied):
            return self._denied
        return max(next(self._pauses), min(_LONGEST_S, error.retry_after or 0.0))
