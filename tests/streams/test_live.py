import gc
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketlab.errors import ConnectionLost, UnknownSymbol, UsageError
from marketlab.exchange_server import LocalExchange, Simulation
from marketlab.records import Record
from marketlab.streams.hub import Batch
from marketlab.streams.live import LiveFeed, live

TEN_MINUTES = 600.0


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """A whole simulation of 130 s, as fast as it is read."""
    with LocalExchange(Simulation(duration=130.0), speed=math.inf, start_after=0.1) as local:
        yield local


@pytest.fixture
def endless() -> Iterator[LocalExchange]:
    with LocalExchange(Simulation(), speed=20.0, start_after=0.1) as local:
        yield local


def at(exchange: LocalExchange) -> dict[str, Any]:
    return {"ws_url": exchange.ws_url, "rest_url": exchange.rest_url}


def threads() -> int:
    return sum(thread.name == "marketlab-feed" for thread in threading.enumerate())


def test_a_first_look(exchange: LocalExchange) -> None:
    pytest.importorskip("polars")
    with LiveFeed(["BTC/USDT", "ethusdt"], ["trade", "kline_1m", "quote", "book", "ticker"], **at(exchange)) as feed:
        feed.wait(klines=4, idle=0.3)
        assert repr(feed) == "<LiveFeed binance: BTCUSDT, ETHUSDT (book, kline_1m, quote, ticker, trade)>"
        trades = feed.trades("BTCUSDT")
        assert trades["trade_id"].cast(int).is_sorted()
        assert trades["trade_id"].n_unique() == trades.height > 100
        assert feed.trades("btc-usdt", limit=5).equals(trades.tail(5))
        assert trades["origin"].unique().to_list() == ["simulated"]
        klines = feed.klines("ETHUSDT", "1m")
        assert klines["closed"].sum() == 2
        assert feed.klines("ETHUSDT", "5m").is_empty()
        quote = feed.quote("BTCUSDT")
        assert quote is not None
        book = feed.book("BTCUSDT", levels=5)
        assert (len(book.bids), len(book.asks)) == (5, 5)
        assert book.verified
        assert book.best_bid is not None
        assert book.best_ask is not None
        assert book.best_bid < book.best_ask
        assert feed.quotes("BTCUSDT").height > 100
        assert feed.tickers("BTCUSDT").height > 10
        assert feed.agg_trades("BTCUSDT").is_empty()
        assert feed.gaps("BTCUSDT").is_empty()
        assert feed.history("BTCUSDT", "1m", limit=500).height == 500
        status = feed.status()
        assert status.running
        assert repr(status).startswith("binance: running (simulated)\n")
    assert not feed.running
    assert repr(feed) == "<LiveFeed binance: BTCUSDT, ETHUSDT (book, kline_1m, quote, ticker, trade), stopped>"
    with pytest.raises(UsageError, match="limit is -1; give 0 or more"):
        feed.trades("BTCUSDT", limit=-1)
    with pytest.raises(UsageError, match=r"within is -0.1; give a fraction of the price such as 0.001"):
        feed.book("BTCUSDT", within=-0.1)
    with pytest.raises(UsageError, match="levels is -1; give 0 or more"):
        feed.book("BTCUSDT", levels=-1)
    assert feed.trades("BTCUSDT").equals(trades)  # what was kept stays
    with pytest.raises(UsageError, match="was stopped; make a new one"):
        feed.history("BTCUSDT", "1m")
    assert threads() == 0


def test_more_and_less_while_it_runs(endless: LocalExchange) -> None:
    with LiveFeed("BTCUSDT", "trade", **at(endless)) as feed:
        feed.subscribe("ETHUSDT", "book", "kline_1m")
        feed.wait(update_id=1, symbol="ETHUSDT")
        feed.unsubscribe("BTCUSDT")
        assert {stream.symbol for stream in feed.status().streams} == {"ETHUSDT"}
        with pytest.raises(UsageError, match="has no book of BTCUSDT"):
            feed.book("BTCUSDT")
        with pytest.raises(UnknownSymbol, match="Did you mean BTCUSDT"):
            feed.trades("BTCUST")
        with pytest.raises(TimeoutError, match="1,000,000 trades"):
            feed.wait(trades=10**6, timeout=0.05)


def test_every_batch_from_the_first_on_and_from_now_on(exchange: LocalExchange) -> None:
    first: list[Record] = []
    later: list[Record] = []
    with LiveFeed("BTCUSDT", "trade", lossless=[first.extend], **at(exchange)) as feed:
        feed.wait(trades=10)
        subscriber = feed.lossless(later.extend)
        feed.wait(idle=0.3)
        subscriber.close()
        assert len(first) == feed.status().records
        assert later == first[len(first) - len(later) :]


def test_the_latest_for_whoever_shows_things(exchange: LocalExchange) -> None:
    woken = threading.Event()
    with LiveFeed("BTCUSDT", ["trade", "quote"], **at(exchange)) as feed:
        latest = feed.latest(woken.set)
        assert woken.wait(20)
        feed.wait(idle=0.3)
        assert set(latest.take()) == {("BTCUSDT", "trade"), ("BTCUSDT", "quote")}
        assert feed.status().dropped == latest.dropped > 0
        assert feed.loop.is_running()


def test_the_same_call_again_replaces_the_feed(endless: LocalExchange) -> None:
    first = live("BTCUSDT", "trade", **at(endless))
    other = live("ETHUSDT", "trade", **at(endless))
    second = live(["BTCUSDT"], ["trade"], **at(endless))
    assert (first.running, second.running, other.running) == (False, True, True)
    elsewhere = live("BTCUSDT", "trade", into="delta://elsewhere", **at(endless))
    assert (second.running, elsewhere.running) == (True, True)
    for feed in (other, second, elsewhere):
        feed.stop()
        feed.stop()
    assert threads() == 0


def test_one_name_is_one_feed_whatever_else_differs(endless: LocalExchange) -> None:
    with LocalExchange(Simulation(), speed=20.0, start_after=0.1) as another:
        first = live("ETHUSDT", "quote", name="mine", **at(endless))
        second = live("BTCUSDT", "book", name="mine", **at(another))
        assert (first.running, second.running) == (False, True)
        second.stop()
    assert threads() == 0


def test_a_feed_that_nobody_refers_to_stops(endless: LocalExchange) -> None:
    feed = LiveFeed("BTCUSDT", "trade", **at(endless))
    feed.wait(trades=1)
    assert threads() == 1
    del feed
    gc.collect()
    assert threads() == 0


def test_the_newest_trades_are_those_of_the_table_from_its_end(exchange: LocalExchange) -> None:
    with LiveFeed("BTCUSDT", "trade", **at(exchange)) as feed:
        feed.wait(trades=100, idle=1.0)
        feed.stop()
        ids = [trade.trade_id for trade in feed.newest_trades("btc/usdt")]
        assert ids == feed.trades("BTCUSDT")["trade_id"].to_list()[::-1]
        with pytest.raises(UnknownSymbol):
            feed.newest_trades("NOPE")


def test_an_ending_that_fails_keeps_no_other_from_being_called(endless: LocalExchange) -> None:
    called: list[str] = []

    def fail() -> None:
        called.append("failing")
        raise OSError("the disk is full")

    feed = LiveFeed("BTCUSDT", "trade", ended=(fail,), **at(endless))
    feed.when_stopped(lambda: called.append("second"))
    feed.when_stopped(lambda: 1 / 0)
    feed.when_stopped(lambda: called.append("last"))
    with pytest.raises(OSError, match="the disk is full"):
        feed.stop()
    assert called == ["failing", "second", "last"]
    feed.when_stopped(lambda: called.append("at once"))
    assert called[-1] == "at once"
    feed.stop()
    assert threads() == 0


def test_it_may_be_asked_and_stopped_from_its_own_thread(endless: LocalExchange) -> None:
    seen: list[str] = []
    done = threading.Event()

    def look(_: Batch) -> None:
        if not done.is_set():
            seen.append(repr(feed.status())[:16])
            done.set()
            feed.stop()

    feed = LiveFeed("BTCUSDT", "trade", **at(endless))
    feed.lossless(look)
    assert done.wait(20)
    deadline = time.monotonic() + 20
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == 0
    assert seen == ["binance: running"]


def test_a_mistake_is_told_where_it_was_made(exchange: LocalExchange, free_port: int) -> None:
    with pytest.raises(UnknownSymbol, match="Did you mean BTCUSDT"):
        live("BTCUSDTT", **at(exchange))
    with pytest.raises(ConnectionLost, match="Cannot reach"):
        live("BTCUSDT", ws_url=f"ws://127.0.0.1:{free_port}", rest_url=f"http://127.0.0.1:{free_port}")
    with pytest.raises(UsageError, match="at least one symbol"):
        live([])
    assert threads() == 0


def test_it_works_beside_a_running_loop(exchange: LocalExchange) -> None:
    pytest.importorskip("polars")
    import asyncio

    async def cell() -> int:
        with live("BTCUSDT", "trade", **at(exchange)) as feed:
            feed.wait(trades=5)
            return feed.trades("BTCUSDT").height

    assert asyncio.run(cell()) >= 5


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_program_ends_though_its_feed_was_never_stopped(endless: LocalExchange) -> None:
    done = run(f"""
        from marketlab.streams.live import live
        feed = live("BTCUSDT", "trade", ws_url={endless.ws_url!r}, rest_url={endless.rest_url!r})
        feed.wait(trades=3)
        print("the end")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the end\n", "")


def test_streams_need_no_polars_and_tables_say_how_to_get_it(exchange: LocalExchange, tmp_path: Path) -> None:
    (tmp_path / "polars.py").write_text("raise ModuleNotFoundError(\"No module named 'polars'\", name='polars')")
    done = run(
        f"""
        from marketlab.errors import MissingDependency
        from marketlab.streams.live import live
        with live("BTCUSDT", ["trade", "book"], ws_url={exchange.ws_url!r}, rest_url={exchange.rest_url!r}) as feed:
            feed.wait(trades=3, update_id=1)
            print(feed.book("BTCUSDT").verified)
            try:
                feed.trades("BTCUSDT")
            except MissingDependency as error:
                print(error)
        """,
        PYTHONPATH=str(tmp_path),
    )
    assert done.stderr == ""
    assert done.stdout == "True\nA table of trades needs the package polars: run pip install 'marketlab[history]'.\n"


def test_nothing_is_lost_beside_a_busy_kernel(exchange: LocalExchange) -> None:
    ids: list[int] = []

    def note(batch: Batch) -> None:
        ids.extend(int(record.trade_id) for record in batch if hasattr(record, "trade_id"))

    with LiveFeed("BTCUSDT", ["trade", "quote"], lossless=[note], **at(exchange)) as feed:
        number = 0
        until = time.monotonic() + 1.5
        while time.monotonic() < until:  # a cell that computes
            number += sum(range(100))
        feed.wait(idle=0.3)
        assert ids == list(range(ids[0], ids[-1] + 1))
        assert feed.status().gaps == 0


def test_what_cannot_be_waited_for_or_subscribed_to(exchange: LocalExchange) -> None:
    with LiveFeed("BTCUSDT", "trade", **at(exchange)) as feed:
        with pytest.raises(UsageError, match="Say what to wait for, such as trades=100"):
            feed.wait(symbol="BTCUSDT")
        with pytest.raises(UsageError, match="no book of any symbol to wait for"):
            feed.wait(update_id=5)
        wrong: Any = ["ETHUSDT"]
        with pytest.raises(UsageError, match="Subscribe to one symbol and its channels"):
            feed.subscribe(wrong, "trade")
