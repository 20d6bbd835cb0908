"""`kill -9` at named points and at any moment: what was in the spool is in the store once, and no trade is missing."""

import random
import shutil
import signal
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pytest

from marketlab import open_store

from .programs import FULL, at, exchange, run, started, summary, until

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

# By the tag of a packed record: its table, where its key is, and where what else is compared is.
PACKED = {
    "Trade": ("trades", {"trade_id": 3}, {"time": 4, "price": 5, "size": 6, "side": 7}),
    "Kline": ("klines", {"interval": 3, "open_time": 4}, {"open": 6, "high": 7, "close": 9, "trade_count": 12}),
    "Quote": ("quotes", {"update_id": 3}, {"bid_price": 5, "bid_size": 6, "ask_price": 7, "ask_size": 8}),
    "BookSnapshot": ("book_snapshots", {"update_id": 3}, {"time": 4, "bids": 5, "asks": 6}),
    "BookUpdate": ("book_updates", {"last_id": 4}, {"first_id": 3, "time": 6, "bids": 7, "asks": 8}),
    "Gap": ("gaps", {"channel": 3, "start": 4}, {"end": 5, "from_id": 6, "to_id": 7}),
}
KEYS = {table: list(key) for table, key, _ in PACKED.values()}
FACTS = {table: list(facts) for table, _, facts in PACKED.values()}


class Kill(NamedTuple):
    """What one kill left: whole records in the spool and rows that a read gave, by table."""

    moment: str
    spooled: dict[str, int]
    stored: dict[str, int]


class Story(NamedTuple):
    """All kills, what was in a spool at any of them (by table and key), and where the store is."""

    kills: list[Kill]
    remembered: dict[str, dict[Any, Any]]
    vanished: list[str]
    folder: Path


def packed_records(spool: Path) -> Iterator[list[Any]]:
    """A reader of its own, which shares nothing with the one it checks."""
    for path in sorted(spool.glob("*/*.segment")):
        data, place = path.read_bytes(), 0
        while place + 8 <= len(data):
            length, crc = struct.unpack_from("<II", data, place)
            payload = data[place + 8 : place + 8 + length]
            if len(payload) < length or zlib.crc32(payload) != crc:
                break
            yield from msgspec.msgpack.decode(payload)
            place += 8 + length


def remember(spool: Path, remembered: dict[str, dict[Any, Any]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for record in packed_records(spool):
        table, key, facts = PACKED[record[0]]
        counts[table] += 1
        remembered[table].setdefault(
            tuple(record[place] for place in key.values()), tuple(record[place] for place in facts.values())
        )
    return dict(counts)


def rows_by_key(name: str, table: pl.DataFrame) -> list[tuple[Any, Any]]:
    """Key and facts of each row, as a packed record has them."""
    plain = table.with_columns(pl.col(pl.Datetime).dt.epoch("us"))
    levels = [column for column, kind in plain.schema.items() if isinstance(kind, pl.List)]
    keys, facts = plain.select(KEYS[name]).rows(), plain.select(FACTS[name]).to_dicts()
    for row in facts:
        for column in levels:
            if column in row:
                row[column] = [[level["price"], level["size"]] for level in row[column]]
    return [(key, tuple(row.values())) for key, row in zip(keys, facts, strict=True)]


def kill(moment: str, port: int, url: str, spool: Path, log: Path, chance: random.Random) -> None:
    settings = {
        "MARKETLAB_FLUSH_MS": "100" if "compaction" in moment else "300",
        "MARKETLAB_CRASH_AT": "" if moment == AT_RANDOM else moment,
    }
    before = {path.parent for path in spool.glob("*/*.segment")}
    with started(*COLLECT, *at(port), "--store", url, log=log, settings=settings) as process:
        if moment == AT_RANDOM:
            until(lambda: {path.parent for path in spool.glob("*/*.segment")} - before, process, log)
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
            done = run(*COLLECT, *at(port), "--store", url, "--duration", "6", MARKETLAB_FLUSH_MS="300")
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
    # The bare table, in which a double would show.
    rows = rows_by_key(name, pl.read_delta(str(story.folder / name)))
    stored = dict(rows)
    assert len(rows) == len(stored)
    assert not story.remembered[name].keys() - stored.keys()
    for key, facts in story.remembered[name].items():
        assert stored[key] == tuple(_plain(fact) for fact in facts)


def _plain(fact: Any) -> Any:
    return [list(level) for level in fact] if isinstance(fact, list) else fact


def test_what_was_missed_between_the_runs_is_fetched_back(story: Story) -> None:
    with open_store(f"delta://{story.folder}") as store:
        ids = store.read("trades", symbol="BTCUSDT").get_column("trade_id").cast(pl.Int64).to_list()
        gaps = store.read("gaps").filter(pl.col("channel").str.contains("^(trade|kline_1m)$"))
        opened = store.read("klines", interval="1m").get_column("open_time").dt.epoch("us").to_list()
    print(f"{len(ids)} trades, {gaps.height} gaps, of which {gaps.get_column('healed_at').count()} healed")
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert opened == list(range(opened[0], opened[-1] + 1, 60_000_000))
    assert gaps.filter(channel="trade").height
    assert gaps.get_column("healed_at").null_count() == 0
