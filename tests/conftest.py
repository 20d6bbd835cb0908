"""What every test may ask for."""

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = frozenset(os.environ.get("MARKETLAB_REQUIRE", "").replace(",", " ").split())
EVERYTHING = "everything" in REQUIRED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where MARKETLAB_REQUIRE says `everything`, a skip is a failure, so that none goes unnoticed."""
    report = yield
    if EVERYTHING and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: MARKETLAB_REQUIRE says everything, but: {reason}"
    return report


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
