"""What fails in one widget is logged, and stays there."""

import logging
from collections.abc import Callable
from types import TracebackType

__all__ = ["Alone"]

_log = logging.getLogger("marketlab.widgets")


class Alone:
    """`with Alone(failed):` around what a widget does; it goes on after the block.

    Args:
        failed: Called where something was raised, after it was logged.
    """

    __slots__ = ("_failed",)

    def __init__(self, failed: Callable[[], object]) -> None:
        self._failed = failed

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        _log.error("A widget has failed.", exc_info=error)
        self._failed()
        return True
