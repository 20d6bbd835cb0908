"""A background feed with a store behind it goes on where the store ends."""

import gc
import threading
import time
from pathlib import Path

import polars as pl

from marketlab import live, local_exchange, open_store


def test_what_was_missed_between_two_feeds_is_fetched_back(tmp_path: Path) -> None:
    url = f"delta://{tmp_path}"
    with local_exchange(simulate=True, symbols=["BTCUSDT"], seed=3, speed=30.0) as exchange:
        with live("BTCUSDT", "trade", exchange, store=url) as feed:
            feed.wait(trades=40)
        with live("BTCUSDT", "trade", exchange, store=url) as feed:
            feed.wait(trades=40)
            for _ in range(600):
                if feed.status().healed:
                    break
                time.sleep(0.05)
    with open_store(url) as store:
        ids = store.read("trades").get_column("trade_id").cast(pl.Int64).to_list()
        gaps = store.read("gaps")
    assert len(ids) >= 80
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert gaps.height == gaps.get_column("healed_at").count() == 1


def exchanges() -> int:
    return sum(thread.name == "marketlab-exchange" for thread in threading.enumerate())


def test_running_a_cell_again_replaces_its_feed_and_its_local_exchange() -> None:
    feeds = []
    for _ in range(2):
        exchange = local_exchange(simulate=True)
        feeds.append(live(symbols := ["BTCUSDT", "ETHUSDT"], "trade", exchange))
        del exchange
        gc.collect()
        assert [feed.running for feed in feeds] == [False] * (len(feeds) - 1) + [True]
        assert exchanges() == 1
    other = live(reversed(symbols), "trade", local_exchange(simulate=True), store="memory://")
    assert feeds[-1].running
    for feed in (other, feeds[-1]):
        feed.stop()
    gc.collect()
    assert exchanges() == 0
