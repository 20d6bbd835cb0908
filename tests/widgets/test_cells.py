"""What the notebook's kernel is doing, seen from another thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("anywidget")

from marketlab.widgets.cells import is_waiting

from .screens import until


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    running = asyncio.new_event_loop()
    yield running
    running.close()


@pytest.fixture
def thread(loop: asyncio.AbstractEventLoop) -> Iterator[threading.Thread]:
    runs = threading.Thread(target=loop.run_forever)
    runs.start()
    yield runs
    loop.call_soon_threadsafe(loop.stop)
    runs.join()


def busy_with(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    begun = threading.Event()

    def callback() -> None:
        begun.set()
        work()

    loop.call_soon_threadsafe(callback)
    assert begun.wait(10)


def test_a_loop_with_nothing_to_do_waits(thread: threading.Thread) -> None:
    until(lambda: is_waiting(thread), "the loop's rest")


def test_a_loop_that_waits_for_its_callback_does_not(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    goes_on = threading.Event()
    busy_with(loop, lambda: goes_on.wait(30))
    assert not is_waiting(thread)
    goes_on.set()
    until(lambda: is_waiting(thread), "the loop's rest")


def test_a_thread_that_has_ended_waits_for_nothing() -> None:
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    assert not is_waiting(ended)
