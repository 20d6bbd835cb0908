"""What every test may ask for."""

import os
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from .servers import InfluxServer, PostgresServer, RedisServer, Server

Running = TypeVar("Running", bound=Server)

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = frozenset(os.environ.get("MARKETLAB_REQUIRE", "").replace(",", " ").split())
EVERYTHING = "everything" in REQUIRED
# A server that no package of this system brings: whoever has one names it, and its tests run.
ELSEWHERE = re.compile(r"MARKETLAB_TEST_\w+_URL is not set")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where MARKETLAB_REQUIRE says `everything`, a skip is a failure, so that none goes unnoticed."""
    report = yield
    if EVERYTHING and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        if ELSEWHERE.search(str(reason)):
            return report
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: MARKETLAB_REQUIRE says everything, but: {reason}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _no_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a program keeps for the next one is kept in a folder of the tests, in the processes that they start too."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def absent() -> Callable[[str, str], NoReturn]:
    """Skip because a part is absent; where MARKETLAB_REQUIRE names the part, fail instead."""

    def give_up(part: str, reason: str) -> NoReturn:
        if part in REQUIRED:
            pytest.fail(f"MARKETLAB_REQUIRE names {part}, but {reason}", pytrace=False)
        pytest.skip(reason)

    return give_up


@pytest.fixture(scope="session")
def tapes(absent: Callable[[str, str], NoReturn]) -> Path:
    """The folder with real Binance frames, which is beside the repository and never in it."""
    folder = ROOT.parent / "shared" / "data" / "binance_spot"
    if not folder.is_dir():
        absent("tapes", "../shared/data/binance_spot is not there")
    return folder


def _served(kind: type[Running], absent: Callable[[str, str], NoReturn]) -> Iterator[Running]:
    reason = kind.missing()
    if reason is not None:
        absent(kind.part, reason)
    with kind() as server:
        yield server


@pytest.fixture(scope="session")
def influxdb1(absent: Callable[[str, str], NoReturn]) -> Iterator[InfluxServer]:
    """InfluxDB 1.x for all tests: each takes a database of its own. Whoever wants to kill one starts another."""
    yield from _served(InfluxServer, absent)


@pytest.fixture(scope="session")
def postgres(absent: Callable[[str, str], NoReturn]) -> Iterator[PostgresServer]:
    """PostgreSQL for all tests: each takes a database or schema of its own."""
    yield from _served(PostgresServer, absent)


@pytest.fixture(scope="session")
def redis(absent: Callable[[str, str], NoReturn]) -> Iterator[RedisServer]:
    """Redis for all tests: each takes keys of its own."""
    yield from _served(RedisServer, absent)
