"""A cryptofeed sample of 2021: frames of four symbols, an exchangeInfo and depth answers."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest


@pytest.fixture(scope="session")
def sample(absent: Callable[[str, str], NoReturn]) -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "binance_2021"
    if not folder.is_dir():
        absent("tapes", "../shared/data/binance_2021 is not there")
    return folder
