import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from marketlab import tables
from marketlab.cli import main
from marketlab.records import BookSnapshot, Kline, Origin, Record, Trade
from marketlab.stores.open import open_store

MINUTE = 60_000_000
START = 1_723_161_600_000_000


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs the program in this process: `run("query", "trades")`."""

    def marketlab(*arguments: str) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, *capsys.readouterr())

    level = logging.getLogger().level
    yield marketlab
    logging.getLogger().setLevel(level)


def trade(number: int, symbol: str = "BTCUSDT") -> Trade:
    """Trade number 0, 1, ...: one a second, its price rising by one."""
    time = START + number * 1_000_000
    return Trade("binance", symbol, str(100 + number), time, 60_000.0 + number, 0.5, "buy", time + 3, "stream")


def kline(number: int, symbol: str = "BTCUSDT", *, simulated: bool = False) -> Kline:
    """Kline number 0, 1, ... of one minute, closing one higher than it opened."""
    opened = START + number * MINUTE
    prices = (100.0 + number, 102.0 + number, 99.0 + number, 101.0 + number)
    origin: Origin = "simulated" if simulated else "stream"
    ends = opened + MINUTE - 1
    return Kline("binance", symbol, "1m", opened, ends, *prices, 2.0, 200.0, 7, 1.0, 100.0, True, ends + 5, origin)


@pytest.fixture
def stored(tmp_path: Path) -> str:
    """The URL of a store with 50 trades of BTCUSDT, 10 klines of BTCUSDT, 3 simulated klines of ETHUSDT, a book."""
    url = f"delta://{tmp_path / 'data'}"
    records: list[Record] = [trade(number) for number in range(50)]
    records += [kline(number) for number in range(10)]
    records += [kline(number, "ETHUSDT", simulated=True) for number in range(3)]
    records.append(BookSnapshot("binance", "BTCUSDT", 7, START, [(1.0, 2.0)], [(3.0, 4.0)], 1, True, START, "stream"))
    with open_store(url) as store:
        for name, table in tables.to_tables(records).items():
            store.write(name, table)
    return url
