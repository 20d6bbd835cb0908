"""The demo in an empty folder: live prices, statistics, where the data is and what is next; all of it marked as simulated."""

import re
import signal
from pathlib import Path

import polars as pl
import pytest

from marketlab import open_store

from .programs import run, started, until

TABLES = ("trades", "quotes", "klines", "book_updates", "book_snapshots", "gaps")
PRICE = re.compile(r"BTCUSDT [\d,]+\.\d\d / [\d,]+\.\d\d   ETHUSDT [\d,]+\.\d\d / [\d,]+\.\d\d   \(simulated\)")


def contents(folder: Path) -> dict[str, pl.DataFrame]:
    with open_store(f"delta://{folder}") as store:
        return {name: store.read(name, include_open=True) for name in TABLES}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def told(place: Path) -> tuple[str, str]:
    """What the demo prints, and what it says beside that."""
    done = run("demo", cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_it_shows_prices_then_statistics_then_what_is_next(told: tuple[str, str]) -> None:
    statistics, words = told
    first_price = PRICE.search(words)
    assert first_price
    assert first_price.start() < words.index("statistics") < words.index("What next:")
    for word in ("BTCUSDT 1m simulated", "ETHUSDT 1m simulated", "vwap", "volatility", "max_drawdown", "change_1m"):
        assert word in statistics
    assert re.findall(r"was equal ([\d,]+) times", words) == re.findall(r"quotes ([\d,]+) times", words)
    assert "The data (simulated) is in delta://marketdata-demo." in words
    assert "Traceback" not in words


def test_everything_is_stored_and_marked_as_simulated(told: tuple[str, str], place: Path) -> None:
    for name, table in contents(place / "marketdata-demo").items():
        assert table.is_empty() == (name == "gaps"), name
        assert set(table.get_column("origin")) <= {"simulated"}, name
        assert table.is_empty() or set(table.get_column("symbol")) == {"BTCUSDT", "ETHUSDT"}, name


def test_what_it_says_is_next_works(told: tuple[str, str], place: Path) -> None:
    offered = re.findall(r"^  marketlab ((?:query|export) .+)$", told[1], flags=re.MULTILINE)
    assert len(offered) == 2
    for command in offered:
        done = run(*command.split(), cwd=place)
        assert done.returncode == 0, done.stderr
    assert len((place / "klines.csv").read_text().splitlines()) == 1 + 10


def test_a_second_run_leaves_the_store_as_it_was(told: tuple[str, str], place: Path) -> None:
    before = contents(place / "marketdata-demo")
    done = run("demo", "--speed", "60", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "at 60 times the pace" in done.stderr
    after = contents(place / "marketdata-demo")
    for name in TABLES:
        assert after[name].equals(before[name]), name


def test_whoever_ends_it_early_has_what_came(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started("demo", log=log, cwd=tmp_path) as demo:
        until(lambda: PRICE.search(log.read_text()), demo, log)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0, log.read_text()
    words = log.read_text()
    assert "Stopped; what came is stored." in words
    assert "What next:" in words
    assert "Traceback" not in words
    assert contents(tmp_path / "marketdata-demo")["trades"].height
