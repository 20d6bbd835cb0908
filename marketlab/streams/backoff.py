"""How long to wait before trying again: longer each time, never longer than a ceiling, never in step with others."""

from collections.abc import Callable, Iterator

import msgspec

__all__ = ["Backoff"]


class Backoff(msgspec.Struct, frozen=True):
    """Delays in seconds: `first`, then `factor` times more each time up to `ceiling`, each shortened by up to half.

    The shortening is what keeps many clients from coming back in the same instant.
    """

    first: float = 0.25
    factor: float = 2.0
    ceiling: float = 30.0

    def delays(self, random: Callable[[], float]) -> Iterator[float]:
        """Delays without end; `random` gives numbers from 0 until before 1."""
        delay = self.first
        while True:
            delay = min(delay, self.ceiling)
            yield delay * (1.0 - 0.5 * random())
            delay *= self.factor
