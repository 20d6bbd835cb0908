"""What a running collector tells, with and without a book."""

import asyncio
import logging
import re
from pathlib import Path
from threading import Event

import pytest

from marketlab.config import load_settings
from marketlab.exchange_server import LocalExchange, Simulation
from marketlab.lab.collect import Collector
from marketlab.lab.feeding import feed_of
from marketlab.lab.keeping import Keeper
from marketlab.lab.opening import keeping
from marketlab.lab.summary import Summary
from marketlab.records import Trade
from marketlab.stores.memory import MemoryStore
from marketlab.stores.open import open_store
from marketlab.stores.writer import Writer
from marketlab.streams.feed import Feed

from ..servers import InfluxServer, PostgresServer


def collected(channels: list[str]) -> Summary:
    async def run(exchange: LocalExchange, keeper: Keeper) -> Summary:
        feed = Feed("BTCUSDT", channels, ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        return await Collector(feed, keeper, until_idle=1.5, statistics_s=0.2).run()

    store = MemoryStore()
    with LocalExchange(Simulation(["BTCUSDT"], duration=20), speed=10) as exchange, Writer(store) as writer:
        return asyncio.run(run(exchange, Keeper([(store, writer)])))


@pytest.mark.parametrize(("channels", "proof"), [(["trade", "book"], True), (["trade", "quote"], False)])
def test_statistics_go_to_the_log(caplog: pytest.LogCaptureFixture, channels: list[str], proof: bool) -> None:
    caplog.set_level(logging.INFO, logger="marketlab.collect")
    summary = collected(channels)
    told = [record.getMessage() for record in caplog.records if record.name == "marketlab.collect"]
    counts = [line for line in told if "frames" in line]
    assert len(counts) > 2
    for word in ("records", "unreadable", "reconnects", "errors", "gaps", "waiting"):
        assert re.search(rf"\d+ {word}", counts[-1]) or f"{word} (" in counts[-1], counts[-1]
    prices = [line for line in told if line.startswith("BTCUSDT: bid")]
    assert re.search(r"bid \d+\.\d+, ask \d+\.\d+, spread \d+\.\d{3} bps", prices[-1])
    assert ("comparisons equal" in prices[-1]) is proof
    assert re.fullmatch(
        r"memory://: \d+ flushes, \d+ records pending\.", [line for line in told if "flushes" in line][-1]
    )
    assert summary.ended == "idle"
    assert summary.origin == "simulated"


def test_the_duration_begins_when_the_streams_are_open() -> None:
    def slow_memory(*asked: object) -> list[Trade]:
        # As long as a store that does not answer.
        assert not Event().wait(1.5)
        return []

    async def run(exchange: LocalExchange) -> Summary:
        feed = Feed("BTCUSDT", ["trade"], ws_url=exchange.ws_url, rest_url=exchange.rest_url, memory=slow_memory)
        return await Collector(feed, None, duration=1.0).run()

    with LocalExchange(Simulation(["BTCUSDT"], duration=60), speed=10) as exchange:
        summary = asyncio.run(run(exchange))
    assert summary.ended == "duration"
    assert summary.seconds >= 2.5
    assert summary.frames > 0


def test_book_snapshots_as_often_and_as_deep_as_is_set_reach_every_store(
    tmp_path: Path, influxdb1: InfluxServer, postgres: PostgresServer
) -> None:
    async def run(feed: Feed, keeper: Keeper) -> Summary:
        return await Collector(feed, keeper, until_idle=1.5).run()

    urls = [
        f"delta://{tmp_path}/store",
        f"{influxdb1.url('snapshots')}?create=true",
        f"{postgres.url}?schema=snapshots",
    ]
    with LocalExchange(Simulation(["BTCUSDT"], duration=40), speed=20) as exchange:
        settings = load_settings(
            folder=tmp_path,
            environ={},
            symbols=("BTCUSDT",),
            channels=("book",),
            ws_url=exchange.ws_url,
            rest_url=exchange.rest_url,
            snapshot_seconds=10.0,
            snapshot_depth=5,
            spool=tmp_path / "spool",
        )
        with keeping(urls, settings) as keeper:
            asyncio.run(run(feed_of(settings, keeper=keeper), keeper))
    stored = []
    for url in urls:
        with open_store(url) as store:
            stored.append(store.read("book_snapshots", symbol="BTCUSDT"))
    for table in stored:
        assert table.equals(stored[0])
        # One when the book is loaded, then one for each ten seconds that have begun.
        assert table.height in (4, 5)
        assert table.get_column("depth").to_list()[1:] == [5] * (table.height - 1)
        assert table.get_column("bids").list.len().to_list()[1:] == [5] * (table.height - 1)
        assert table.get_column("time").diff().dt.total_milliseconds()[2:].is_between(9_000, 11_000).all()
