"""Every store there is, and rows to put into them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marketlab.records import BookSnapshot, Gap, Kline, Quote, Trade
from marketlab.stores.contract import Store

from . import places
from .places import PLACES

MIDNIGHT = 1_723_161_600_000_000
MINUTE = 60_000_000


class Rows:
    """Records by number: the same number is the same fact."""

    midnight = MIDNIGHT

    def trade(self, number: int, symbol: str = "BTCUSDT", *, at: int | None = None, price: float = 60_000.0) -> Trade:
        time = MIDNIGHT + number * 1_000 if at is None else at
        return Trade("binance", symbol, str(number), time, price, 0.5, "buy", time + 7, "stream")

    def trades(self, numbers: range, symbol: str = "BTCUSDT") -> list[Trade]:
        return [self.trade(number, symbol) for number in numbers]

    def quote(self, number: int, symbol: str = "BTCUSDT", *, received: int | None = None) -> Quote:
        at = MIDNIGHT + number * 1_000 if received is None else received
        return Quote("binance", symbol, number, at, 60_000.0, 1.0, 60_000.01, 2.0, at, "stream")

    def kline(
        self, number: int, symbol: str = "BTCUSDT", *, closed: bool = True, count: int = 10, close: float = 4.0
    ) -> Kline:
        start = MIDNIGHT + number * MINUTE
        numbers = (1.0, 5.0, 0.5, close, 100.0, 400.0, count, 50.0, 200.0)
        return Kline("binance", symbol, "1m", start, start + MINUTE - 1, *numbers, closed, start + MINUTE, "stream")

    def snapshot(self, number: int, symbol: str = "BTCUSDT") -> BookSnapshot:
        at = MIDNIGHT + number * MINUTE
        return BookSnapshot(
            "binance", symbol, number, at, [(2.0, 1.0), (1.0, 3.0)], [(3.0, 1.0)], 2, True, at, "stream"
        )

    def gap(self, number: int, *, healed: bool = False) -> Gap:
        start = MIDNIGHT + number * MINUTE
        at, by = (start + MINUTE, "rest") if healed else (None, None)
        return Gap("binance", "BTCUSDT", "trade", start, start + 5, "1", "5", "hole", at, by, start, "stream")


@pytest.fixture(scope="session")
def rows() -> Rows:
    return Rows()


@pytest.fixture(params=PLACES)
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same empty place each time, once for every store that exists."""
    with places.PLACES[request.param](request, tmp_path) as opened:
        yield opened


@pytest.fixture
def store(open_again: Callable[[], Store]) -> Iterator[Store]:
    with open_again() as opened:
        yield opened
