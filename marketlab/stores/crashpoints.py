"""Named places where a test lets the process die, to prove that nothing is lost or doubled.

They do nothing unless `MARKETLAB_CRASH_AT` says `name` or `name:n` (at the n-th time); then the process kills
itself with SIGKILL, as `kill -9` or the kernel would.
"""

import os
import signal
from threading import Lock, Timer

__all__ = ["NAMES", "reach", "soon_after"]

NAMES = (
    "segment-half-written",
    "before-commit",
    "after-commit",
    "between-tables",
    "between-segments",
    "during-compaction",
    "after-compaction",
)

_WHERE, _, _COUNT = os.environ.get("MARKETLAB_CRASH_AT", "").partition(":")
_lock = Lock()
_left = int(_COUNT or 1)


def reach(name: str) -> None:
    """The process is at this point; returns unless it is to die here."""
    if name == _WHERE and _is_the_time():
        _die()


def soon_after(name: str, seconds: float = 0.01) -> None:
    """Like `reach`, for a point inside of a call that cannot be interrupted: dies a moment later."""
    if name == _WHERE and _is_the_time():
        timer = Timer(seconds, _die)
        timer.daemon = True
        timer.start()


def _is_the_time() -> bool:
    global _left
    with _lock:
        _left -= 1
        return _left == 0


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
