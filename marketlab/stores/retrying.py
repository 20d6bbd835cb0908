"""How long to wait before a store is asked again, by what it said the last time.

1. Away: pauses that double up to a ceiling, shortened by chance, so that those who lost one server do not come back
   all at once.
2. `Retry-After`: as long as the store asks for, though never longer than an hour.
3. Denied: at a slow pace from the beginning, since only a person can mend that. The same goes for what no store should
   raise (`Caught`): nothing is given up for it, and it is told with its kind.
"""

import random
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from marketlab.errors import StoreDenied, StoreUnavailable

__all__ = ["Caught", "OddFailure", "Patience", "backoff", "needs_somebody"]

_LONGEST_S = 3600.0


class OddFailure(StoreUnavailable):
    """What no store should raise: a mistake in it, or an answer that it does not understand."""


class Caught:
    """The boundary behind which a store may raise what it likes: `error` is that, and whoever wrote lives on.

    Args:
        url: whose errors these are.
    """

    def __init__(self, url: str) -> None:
        self.error: StoreUnavailable | None = None
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, StoreUnavailable):
            self.error = error
        elif isinstance(error, Exception):
            self.error = OddFailure(f"{self._url} failed in a way that it should not, {type(error).__name__}: {error}.")
            self.error.__cause__ = error
        return self.error is not None


def needs_somebody(error: StoreUnavailable | None) -> bool:
    """Whether waiting alone is not likely to help."""
    return isinstance(error, StoreDenied | OddFailure)


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
        if needs_somebody(error):
            return self._denied
        return max(next(self._pauses), min(_LONGEST_S, error.retry_after or 0.0))
