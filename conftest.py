"""Starts what a notebook needs before its kernel, and says in one line why one is not run."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

# Where pytest is not started as a module, what is beside this file is not found by its name.
sys.path.insert(0, str(Path(__file__).parent))
try:
    from tests.notebooks import missing, served
finally:
    # But what is tested is what is installed.
    del sys.path[0]

_REQUIRED = frozenset(os.environ.get("MARKETLAB_REQUIRE", "").replace(",", " ").split())
_begun: set[Path] = set()


def pytest_configure() -> None:
    """Whoever is told to end (by `timeout`, say) still stops the servers that it has started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


# The last of those around it, so that what pytest itself prepares is there even for a cell that is skipped.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: Any) -> Iterator[None]:
    """A notebook's first cell starts its kernel, which takes the environment along; its last one ends the server.

    A cell whose server is not there is skipped; where MARKETLAB_REQUIRE names the server, it fails.
    """
    if not hasattr(item, "cell"):
        return (yield)
    absent = missing(item.path.name, tuple(item.cell.metadata.get("tags", ())))
    if absent is not None:
        part, reason = absent
        if part and _REQUIRED & {part, "everything"}:
            pytest.fail(f"MARKETLAB_REQUIRE names {part}, but {reason}", pytrace=False)
        pytest.skip(reason)
    if item.path in _begun:
        return (yield)
    with ExitStack() as running:
        settings = running.enter_context(served(item.path.name))
        with _environment(settings):
            result = yield
        _begun.add(item.path)
        item.parent.addfinalizer(running.pop_all().close)
    return result


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
