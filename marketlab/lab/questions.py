"""Questions to several stores at once, to which an answer is not waited for longer than it is worth."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Thread
from types import TracebackType
from typing import TypeVar

__all__ = ["answers"]

_Answer = TypeVar("_Answer")


def answers(questions: Sequence[Callable[[], _Answer]], within: float) -> list["Future[_Answer]"]:
    """One for each question; those that are not there after so many seconds are not `done`.

    Whoever is still being waited for holds up nothing, the end of the process included.
    """
    futures: list[Future[_Answer]] = [Future() for _ in questions]
    for question, future in zip(questions, futures, strict=True):
        # Those of a pool are waited for when the process ends.
        Thread(target=_ask, args=(question, future), name="marketlab-question", daemon=True).start()
    wait(futures, within)
    return futures


def _ask(question: Callable[[], _Answer], future: "Future[_Answer]") -> None:
    with _Told(future):
        future.set_result(question())


class _Told:
    """Hands an error to whoever asked."""

    def __init__(self, future: "Future[_Answer]") -> None:
        self._tell = future.set_exception

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            self._tell(error)
        return True
