"""Ctrl-C and SIGTERM as a question instead of an interruption, for loops that must end at a good place."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["asked_to_stop"]


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C or SIGTERM only makes the question true; the second one ends the program."""
    asked = False
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for which, handler in before.items():
            signal.signal(which, handler)

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal asked
        asked = True
        restore()

    for which in before:
        signal.signal(which, stop)
    try:
        yield lambda: asked
    finally:
        restore()
