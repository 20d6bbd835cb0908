"""What a running collector tells, with and without a book."""

import asyncio
import logging
import re

import pytest

from marketlab.exchange_server import LocalExchange, Simulation
from marketlab.lab.collect import Collector
from marketlab.lab.keeping import Keeper
from marketlab.lab.summary import Summary
from marketlab.stores.memory import MemoryStore
from marketlab.stores.writer import Writer
from marketlab.streams.feed import Feed


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
