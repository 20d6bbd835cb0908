"""What every test may ask for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def absent() -> Callable[[str, str], NoReturn]:
    """Skip because a part is absent; where MARKETLAB_REQUIRE names the part, fail instead."""
    required = set(os.environ.get("MARKETLAB_REQUIRE", "").replace(",", " ").split())

    def give_up(part: str, reason: str) -> NoReturn:
        if part in required:
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


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether every number is to be shown (MARKETLAB_FULL=1) or the quick size is enough."""
    return os.environ.get("MARKETLAB_FULL", "") not in ("", "0")
