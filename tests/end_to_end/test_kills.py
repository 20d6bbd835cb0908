"""`kill -9` at named points and at any moment: what was in the spool is in the store once, and no trade is missing."""

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from marketlab import open_store

from .programs import FULL, at, exchange, run, started, summary, until
from .spools import KEYS, Remembered, check, remember

COLLECT = ("collect", "BTCUSDT", "--channels", "trade,quote,book,kline_1m", "--json")
AT_RANDOM = "at random"
# After a restart the first commits are those of the segments that the run before has left.
MOMENTS = [
    "segment-half-written:12",
    AT_RANDOM,
    "before-commit:1",
    "after-commit:6",
    AT_RANDOM,
    "between-tables:2",
    AT_RANDOM,
    "during-compaction:1",
]
MORE_MOMENTS = [
    "segment-half-written:1",
    AT_RANDOM,
    "before-commit:14",
    AT_RANDOM,
    "after-commit:1",
    AT_RANDOM,
    "between-tables:1",
    AT_RANDOM,
    "segment-half-written:60",
    AT_RANDOM,
    "during-compaction:3",
    "after-compaction:2",
]


class Kill(NamedTuple):
    """What one kill left: whole records in the spool and rows that a read gave, by table."""

    moment: str
    spooled: dict[str, int]
    stored: dict[str, int]


class Story(NamedTuple):
    """All kills, what was in a spool at any of them (by table and key), and where the store is."""

    kills: list[Kill]
    remembered: Remembered
    vanished: list[str]
    folder: Path


def writers(spool: Path) -> set[str]:
    # Not Path.glob, which breaks off where a folder comes and goes while it looks.
    return {folder for folder, _, names in os.walk(spool) if any(name.endswith(".segment") for name in names)}


def kill(moment: str, port: int, url: str, spool: Path, log: Path, chance: random.Random) -> None:
    settings = {
        "MARKETLAB_FLUSH_MS": "100" if "compaction" in moment else "300",
        "MARKETLAB_CRASH_AT": "" if moment == AT_RANDOM else moment,
    }
    before = writers(spool)
    with started(*COLLECT, *at(port), "--store", url, log=log, settings=settings) as process:
        if moment == AT_RANDOM:
            until(lambda: writers(spool) - before, process, log)
            time.sleep(chance.uniform(0.0, 2.5))
            process.kill()
        process.wait(240)
    assert process.returncode == -signal.SIGKILL, log.read_text()[-3000:]


def read_everything(url: str) -> dict[str, pl.DataFrame]:
    with open_store(url) as store:
        return {name: store.read(name, include_open=True) for name in KEYS}


@pytest.fixture(scope="module")
def story(tapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("kills")
    folder = root / "store"
    url = f"delta://{folder}"
    told = Story([], {name: {} for name in KEYS}, [], folder)
    seen: dict[str, set[Any]] = {name: set() for name in KEYS}
    chance = random.Random(20240809)
    tape = tapes / "btcusdt_20240809.gz"
    with exchange("--tape", tape, "--speed", "20", "--loop", "500", log=root / "exchange.log") as port:
        for number, moment in enumerate([*MOMENTS, *MORE_MOMENTS] if FULL else MOMENTS):
            kill(moment, port, url, folder / "_spool", root / f"collector_{number}.log", chance)
            shutil.copytree(folder / "_spool", root / f"spool_{number}")
            spooled = remember(root / f"spool_{number}", told.remembered)
            found = read_everything(url)
            told.kills.append(Kill(moment, spooled, {name: table.height for name, table in found.items()}))
            for name, table in found.items():
                keys = set(table.select(KEYS[name]).rows())
                told.vanished.extend(f"{name} {key} after {moment}" for key in seen[name] - keys)
                seen[name] |= keys
        for _ in range(5):
            # The next run heals what the end of this one cuts off.
            done = run(*COLLECT, *at(port), "--store", url, "--duration", "6")
            assert summary(done)["stores"][0]["pending"] == 0
            if not read_everything(url)["gaps"].filter(pl.col("healed_at").is_null(), channel="trade").height:
                break
    return told


def test_the_account(story: Story) -> None:
    named = [told.moment for told in story.kills if told.moment != AT_RANDOM]
    assert len(story.kills) == (20 if FULL else 8)
    assert len(named) * 2 >= len(story.kills)
    for number, told in enumerate(story.kills, 1):
        spooled = ", ".join(f"{count} {name}" for name, count in sorted(told.spooled.items())) or "nothing"
        stored = ", ".join(f"{count} {name}" for name, count in sorted(told.stored.items()) if count)
        print(f"kill {number:2} {told.moment:24} in the spool: {spooled}; a read gives: {stored or 'nothing'}")
    print(f"remembered: { {name: len(rows) for name, rows in story.remembered.items()} }")


def test_the_kills_left_something_in_the_spool(story: Story) -> None:
    assert sum(bool(told.spooled) for told in story.kills) >= len(story.kills) // 2
    for name in ("trades", "quotes", "book_updates"):
        assert story.remembered[name]


def test_nothing_that_was_once_read_goes_missing(story: Story) -> None:
    assert story.vanished == []


@pytest.mark.parametrize("name", list(KEYS))
def test_what_was_in_a_spool_is_in_the_store_exactly_once(story: Story, name: str) -> None:
    assert not list((story.folder / "_spool").glob("*/*.segment"))
    check(name, story.folder, story.remembered)


def test_what_was_missed_between_the_runs_is_fetched_back(story: Story) -> None:
    with open_store(f"delta://{story.folder}") as store:
        trades = store.read("trades", symbol="BTCUSDT")
        gaps = store.read("gaps").filter(pl.col("channel").str.contains("^(trade|kline_1m)$"))
        opened = store.read("klines", interval="1m").get_column("open_time").dt.epoch("us").to_list()
    ids = trades.get_column("trade_id").cast(pl.Int64).to_list()
    print(f"{len(ids)} trades, {gaps.height} gaps, of which {gaps.get_column('healed_at').count()} healed")
    assert ids == list(range(ids[0], ids[-1] + 1))
    # The minute in which it began is not whole, and the last one may not have closed yet.
    minutes = trades.get_column("time").dt.truncate("1m").unique().sort().dt.epoch("us").to_list()
    assert opened in (minutes[1:-1], minutes[1:-2])
    assert gaps.filter(channel="trade").height
    assert gaps.get_column("healed_at").null_count() == 0
