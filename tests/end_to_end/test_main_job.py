"""The main job through real sockets and processes: a tape served, collected, stored, read back."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from marketlab import open_store
from marketlab.stores.contract import Store

from .programs import at, exchange, run, summary

BTC = "btcusdt_20240809.gz"
ETH = ("ethusdt_20240808.gz", "ethusdt_20240809.gz")
CHANNELS = ("--channels", "trade,quote,book,kline_1m")

# open time in ms, open, high, low, close, volume, trades: see the data's README
BTC_MINUTES = [
    (1723161660000, 61631.79, 61631.79, 61556.04, 61589.99, 79.69369, 2931),
    (1723161720000, 61590.00, 61700.00, 61590.00, 61626.17, 40.44064, 1992),
    (1723161780000, 61626.17, 61686.00, 61608.30, 61637.26, 37.08509, 1705),
    (1723161840000, 61637.26, 61691.64, 61602.00, 61607.99, 30.31600, 1461),
]
TABLES = ("trades", "quotes", "klines", "book_updates", "book_snapshots", "gaps")
RECEIPT = ("received", "origin")  # what differs between sockets and replay, besides a quote's time


def collect(tapes: Path, names: tuple[str, ...], symbol: str, store: str, log: Path) -> Any:
    options = [part for name in names for part in ("--tape", tapes / name)]
    with exchange(*options, "--speed", "max", log=log) as port:
        return summary(
            run("collect", symbol, *CHANNELS, *at(port), "--store", store, "--until-idle", "3", "--json", timeout=180)
        )


def replay(tapes: Path, names: tuple[str, ...], store: str) -> Any:
    return summary(run("replay", *(tapes / name for name in names), *CHANNELS, "--store", store, "--json"))


def contents(store: Store) -> dict[str, pl.DataFrame]:
    return {name: store.read(name, include_open=True) for name in TABLES}


def facts(name: str, table: pl.DataFrame) -> pl.DataFrame:
    hidden = [*RECEIPT, "time"] if name == "quotes" else list(RECEIPT)
    kept = table.drop(hidden)
    return kept.sort("update_id") if name == "quotes" else kept


@pytest.fixture(scope="module")
def stores(tapes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    root = tmp_path_factory.mktemp("main_job")
    made: dict[Any, Any] = {"root": root}
    for kind in ("sockets", "replay"):
        for symbol, names in (("BTCUSDT", (BTC,)), ("ETHUSDT", ETH)):
            url = f"delta://{root / kind / symbol}"
            made[kind, symbol, "url"] = url
            if kind == "sockets":
                made[kind, symbol] = collect(tapes, names, symbol, url, root / f"{symbol}.log")
            else:
                made[kind, symbol] = replay(tapes, names, url)
    return made


@pytest.mark.parametrize("kind", ["sockets", "replay"])
class TestBitcoin:
    def test_no_trade_is_lost_and_none_is_there_twice(self, stores: dict[Any, Any], kind: str) -> None:
        with open_store(stores[kind, "BTCUSDT", "url"]) as store:
            ids = store.read("trades", symbol="btc/usdt").get_column("trade_id").cast(pl.Int64).to_list()
        assert ids == list(range(3735693016, 3735703163))

    def test_all_quotes(self, stores: dict[Any, Any], kind: str) -> None:
        with open_store(stores[kind, "BTCUSDT", "url"]) as store:
            quotes = store.read("quotes", symbol="BTCUSDT")
        assert len(quotes) == 45_134
        assert quotes.get_column("update_id").n_unique() == 45_134

    def test_klines_to_the_last_digit(self, stores: dict[Any, Any], kind: str) -> None:
        with open_store(stores[kind, "BTCUSDT", "url"]) as store:
            klines = store.read("klines", symbol="BTCUSDT", interval="1m")
        rows = klines.select(
            pl.col("open_time").dt.epoch("ms"), "open", "high", "low", "close", "volume", "trade_count"
        ).rows()
        assert rows == BTC_MINUTES

    def test_the_book_proves_itself(self, stores: dict[Any, Any], kind: str) -> None:
        book = stores[kind, "BTCUSDT"]["symbols"]["BTCUSDT"]["book"]
        assert book["compared"] >= 3_000
        assert book["compared"] - book["equal"] <= 2

    def test_nothing_is_missing(self, stores: dict[Any, Any], kind: str) -> None:
        assert stores[kind, "BTCUSDT"]["gaps"] == 0


@pytest.mark.parametrize("kind", ["sockets", "replay"])
class TestEtherOverTwoTapes:
    def test_the_book_is_equal_from_its_snapshot_on_and_over_the_seam(self, stores: dict[Any, Any], kind: str) -> None:
        book = stores[kind, "ETHUSDT"]["symbols"]["ETHUSDT"]["book"]
        assert book["resyncs"] == 0
        assert book["compared"] == book["equal"] == 3432 + 3036

    def test_trades_continue_without_a_hole(self, stores: dict[Any, Any], kind: str) -> None:
        with open_store(stores[kind, "ETHUSDT", "url"]) as store:
            ids = store.read("trades", symbol="ETHUSDT").get_column("trade_id").cast(pl.Int64).to_list()
            assert ids == list(range(1520538925, 1520553440))
            assert store.read("gaps").is_empty()


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_replay_gives_the_same_rows_as_sockets(stores: dict[Any, Any], symbol: str) -> None:
    with open_store(stores["sockets", symbol, "url"]) as ours, open_store(stores["replay", symbol, "url"]) as theirs:
        left, right = contents(ours), contents(theirs)
    for name in TABLES:
        assert facts(name, left[name]).equals(facts(name, right[name])), name
        assert set(left[name].get_column("origin")) <= {"replay"}, name


@pytest.mark.parametrize("kind", ["sockets", "replay"])
def test_everything_twice_leaves_the_store_as_it_was(stores: dict[Any, Any], tapes: Path, kind: str) -> None:
    url = stores[kind, "BTCUSDT", "url"]
    with open_store(url) as store:
        before = contents(store)
    if kind == "sockets":
        collect(tapes, (BTC,), "BTCUSDT", url, stores["root"] / "again.log")
    else:
        replay(tapes, (BTC,), url)
    with open_store(url) as store:
        after = contents(store)
    for name in TABLES:
        assert after[name].equals(before[name]), name
