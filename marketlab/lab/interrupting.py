"""How a program ends that is told to stop a second time, while it still stores what came."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["end_at_once", "take_no_more", "twice_ends_at_once"]

_INTERRUPTED = 130
_SHOW_CURSOR = "\x1b[?25h"


def end_at_once(words: str) -> NoReturn:
    """Say one sentence and end the process with exit code 130.

    Unwinding would tear sockets and threads apart, some of them in native code, where an interpreter that ends makes
    them crash.
    """
    text = f"{_SHOW_CURSOR if sys.stderr.isatty() else ''}{words}\n"
    os.write(2, text.encode())  # a signal may come in the middle of another print
    os._exit(_INTERRUPTED)


def take_no_more() -> None:
    """Be deaf to Ctrl-C and SIGTERM from here on: the program ends anyway, and an interpreter that ends must not be
    interrupted."""
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, signal.SIG_IGN)


@contextmanager
def twice_ends_at_once(words: str) -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C or SIGTERM only makes the question true; the second one ends the process.

    Afterwards they do what they did before; where somebody has asked, nothing, as the program is about to end.
    """
    asked = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal asked
        if asked:
            end_at_once(words)
        asked = True

    before = {which: signal.signal(which, stop) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        if asked:
            take_no_more()
        for which, handler in before.items():
            if signal.getsignal(which) is stop:
                signal.signal(which, handler)
