"""The cells of a notebook: what the former run of one has made, and whether one runs."""

import selectors
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any, Protocol

from IPython.core.getipython import get_ipython

from marketlab.widgets.shown import request

__all__ = ["is_listening", "is_waiting", "replace_former"]

_LISTENING_AFTER_S = 5.0


class _Closable(Protocol):
    def close(self) -> None: ...


# By cell: the run that has made something, and what that was.
_by_cell: "dict[str, tuple[str, weakref.WeakSet[_Closable]]]" = {}


def replace_former(made: _Closable) -> None:
    """Close what the former run of the cell that runs now has made.

    What is made while no cell runs, such as by a click or by a program, replaces nothing.
    """
    cell, run = _running_cell()
    _runs.watch()
    if not cell:
        return
    former = _by_cell.get(cell)
    if former is None or former[0] != run:
        for old in () if former is None else tuple(former[1]):
            old.close()
        former = _by_cell[cell] = (run, weakref.WeakSet())
    former[1].add(made)


def is_listening() -> bool:
    """Whether the kernel does nothing, and no cell has run for some seconds: it has heard whatever was said to it."""
    return _runs.idle_s > _LISTENING_AFTER_S and is_waiting(threading.main_thread())


def is_waiting(thread: threading.Thread) -> bool:
    """Whether a thread's event loop waits for something to do, not for what it calls, such as a button's click."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is not None and frame.f_code.co_filename == selectors.__file__:
        frame = frame.f_back
    return frame is not None and "asyncio" in Path(frame.f_code.co_filename).with_suffix("").parts


def _running_cell() -> tuple[str, str]:
    """The cell and its run; nothing where none runs."""
    message = request()
    if not message:
        return "", ""
    # Who runs a notebook without a page, such as nbconvert, does not say which cell it is; its text does.
    cell = message.get("metadata", {}).get("cellId") or message.get("content", {}).get("code", "")
    return str(cell), str(message["header"]["msg_id"])


class _Runs:
    """Notes when cells run."""

    def __init__(self) -> None:
        self._shell: Any = None
        self._running = 0
        self._ended = 0.0

    def watch(self) -> None:
        """Begin with the shell that there is, once."""
        shell: Any = get_ipython()
        if shell is None or shell is self._shell:
            return
        self._shell = shell
        self._running = int("code" in request().get("content", {}))
        self._ended = time.monotonic()
        shell.events.register("pre_run_cell", self._begin)
        shell.events.register("post_run_cell", self._end)

    def _begin(self, _: Any) -> None:
        self._running += 1

    def _end(self, _: Any) -> None:
        self._running = max(self._running - 1, 0)
        self._ended = time.monotonic()

    @property
    def idle_s(self) -> float:
        """Seconds since a cell ran; 0 while one does, and outside of a notebook."""
        return 0.0 if self._running or self._shell is None else time.monotonic() - self._ended


_runs = _Runs()
