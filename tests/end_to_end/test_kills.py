"""`kill -9` at named points and at any moment: what was in the spool is in the store once, and no trade is missing."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from marketlab import open_store

from ..servers import InfluxServer
from .accounts import HEADER, SENT, account
from .faulty import Answer, FaultyProxy, Late
from .histories import DeltaHistory, History, InfluxHistory, PostgresHistory
from .programs import FULL, at, exchange, run, started, summary, until
from .scenes import CHANNELS
from .spools import Remembered, Watch, has_segments, read, remember

COLLECT = ("collect", "BTCUSDT", *CHANNELS, "--json")
AT_RANDOM = "at random"
UNTOLD = "the store has it and has not said so"
JOINED = "between-segments:1"  # of those that went together, after the store was away
# After a restart the first commits are those of the segments that the run before has left.
MOMENTS = {
    "delta": ["segment-half-written:12", AT_RANDOM, "during-compaction:1"],
    "influxdb": ["before-commit:1", AT_RANDOM, UNTOLD],
    "postgresql": ["after-commit:2", AT_RANDOM],
}
MORE_MOMENTS = {
    "delta": [
        *("before-commit:1", AT_RANDOM, "after-commit:6", AT_RANDOM, "between-tables:2", AT_RANDOM),
        *("segment-half-written:1", AT_RANDOM, "before-commit:14", AT_RANDOM, "after-commit:1", AT_RANDOM),
        *("segment-half-written:40", "during-compaction:3", "after-compaction:2"),
    ],
    "influxdb": [
        *("between-tables:1", AT_RANDOM, "after-commit:1", AT_RANDOM, UNTOLD, AT_RANDOM, "before-commit:9", AT_RANDOM),
        *("segment-half-written:5", AT_RANDOM, "after-commit:7", AT_RANDOM, JOINED, AT_RANDOM),
    ],
    "postgresql": [
        *("before-commit:1", AT_RANDOM, "between-tables:1", AT_RANDOM, "after-commit:8", AT_RANDOM),
        *("segment-half-written:8", AT_RANDOM, "before-commit:6", AT_RANDOM, "between-tables:3", AT_RANDOM, AT_RANDOM),
    ],
}


class Story(NamedTuple):
    """All kills of collectors into one store, what was in a spool ever, and what vanished between two reads."""

    moments: list[str]
    history: History
    remembered: Remembered
    left: list[int]
    vanished: list[str]


class Victims:
    """Collectors that are killed, one after another, into one store."""

    def __init__(self, root: Path, port: int, history: History, spool: Path, proxy: FaultyProxy | None) -> None:
        self._root = root
        self._port = port
        self._history = history
        self._spool = spool
        self._proxy = proxy
        self._chance = random.Random(20240809)
        self._number = 0

    def kill_one(self, moment: str) -> None:
        self._number += 1
        log = self._root / f"collector_{self._number}.log"
        settings = {
            "MARKETLAB_FLUSH_MS": "100" if "compaction" in moment else "300",
            "MARKETLAB_CRASH_AT": "" if moment in (AT_RANDOM, UNTOLD) else moment,
        }
        before = has_segments(self._spool)
        with started(*self._collect, log=log, cwd=self._root, settings={**self._settings, **settings}) as process:
            if moment == AT_RANDOM:
                until(lambda: has_segments(self._spool) - before, process, log)
                time.sleep(self._chance.uniform(0.0, 2.5))
                process.kill()
            elif moment == UNTOLD:
                proxy = self._proxy
                assert proxy is not None
                until(lambda: has_segments(self._spool) - before, process, log)
                with proxy.failing(Late(60.0, "/write")):
                    written = proxy.lines
                    until(lambda: proxy.lines > written, process, log)
                    process.kill()
            elif moment == JOINED:
                assert self._proxy is not None
                # It still says what it has: else whoever begins with an empty spool cannot know what was missed.
                with self._proxy.failing(Answer(503, path="/write")):
                    time.sleep(3.0)
            process.wait(240)
        assert process.returncode == -signal.SIGKILL, log.read_text()[-3000:]

    def finish(self) -> None:
        """Runs that end in peace, until what the kills cut off is healed; each heals what the end of the one before cut off."""
        for _ in range(5):
            done = run(*self._collect, "--duration", "6", cwd=self._root, settings=self._settings)
            assert summary(done)["stores"][0]["pending"] == 0
            with open_store(self._history.url) as store:
                if not store.read("gaps").filter(pl.col("healed_at").is_null(), channel="trade").height:
                    return

    @property
    def _collect(self) -> list[str]:
        return [*COLLECT, *at(self._port), "--store", self._history.url]

    @property
    def _settings(self) -> dict[str, str]:
        # A Delta store has its own place for it, which its readers know.
        return {} if isinstance(self._history, DeltaHistory) else {"MARKETLAB_SPOOL": str(self._spool)}


def tell(victims: Victims, moments: list[str], history: History, spool: Path, kept: Path) -> Story:
    left, vanished = [], []
    seen: dict[str, set[Any]] = {}
    with Watch(kept.with_name("work"), kept):
        for moment in moments:
            victims.kill_one(moment)
            left.append(sum(map(len, remember(spool).values())))
            for name, rows in read(history.url).items():
                vanished += [f"{name} {key} after {moment}" for key in seen.get(name, set()) - rows.keys()]
                seen.setdefault(name, set()).update(rows)
        victims.finish()
    assert not has_segments(spool)
    return Story(moments, history, remember(kept), left, vanished)


@pytest.fixture(scope="module", params=list(MOMENTS))
def story(request: pytest.FixtureRequest, tapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    kind = request.param
    root = tmp_path_factory.mktemp(kind)
    moments = [*MOMENTS[kind], *(MORE_MOMENTS[kind] if FULL else [])]
    served = ("--tape", tapes / "btcusdt_20240809.gz", "--speed", "20", "--loop", "500")
    with ExitStack() as stack:
        history: History
        spool, proxy = root / "work" / "spool", None
        if kind == "delta":
            history, spool = DeltaHistory(root / "work" / "store"), root / "work" / "store" / "_spool"
        elif kind == "influxdb":
            server: InfluxServer = request.getfixturevalue("influxdb1")
            proxy = stack.enter_context(FaultyProxy(server.port))
            history = InfluxHistory(server, proxy.port)
        else:
            history = PostgresHistory(request.getfixturevalue("postgres"))
        port = stack.enter_context(exchange(*served, log=root / "exchange.log"))
        yield tell(Victims(root, port, history, spool, proxy), moments, history, spool, root / "kept")


def test_the_account(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    case = f"{len(story.moments)} kills of a collector into {story.history.url.partition(':')[0]}"
    told = account(case, story.history, {}, story.remembered)
    with capsys.disabled():
        print(f"\n{HEADER}\n{told}")
        for moment, left in zip(story.moments, story.left, strict=True):
            print(f"    {moment:44} {left:9,} left in the spool")
    assert (told.lost, told.doubled) == (0, 0)
    assert told.spooled


def test_the_kills_left_something_in_the_spool(story: Story) -> None:
    assert sum(map(bool, story.left)) >= len(story.left) // 2
    for name in SENT:
        assert story.remembered[name]


def test_nothing_that_was_once_read_goes_missing(story: Story) -> None:
    assert story.vanished == []


def test_what_was_missed_between_the_runs_is_fetched_back(story: Story) -> None:
    with open_store(story.history.url) as store:
        trades = store.read("trades", symbol="BTCUSDT")
        gaps = store.read("gaps").filter(pl.col("channel").str.contains("^(trade|kline_1m)$"))
        opened = store.read("klines", interval="1m").get_column("open_time").dt.epoch("us").to_list()
    ids = trades.get_column("trade_id").cast(pl.Int64).to_list()
    print(f"{len(ids)} trades, {gaps.height} gaps, of which {gaps.get_column('healed_at').count()} healed")
    assert ids == list(range(ids[0], ids[-1] + 1))
    # The minute in which it began is not whole, and the last one may not have closed yet.
    minutes = trades.get_column("time").dt.truncate("1m").unique().sort().dt.epoch("us").to_list()
    assert [minute for minute in minutes[1:-2] if minute not in opened] == []
    assert set(opened) <= set(minutes[1:-1])
    assert gaps.filter(channel="trade").height
    assert gaps.filter(pl.col("healed_at").is_null()).to_dicts() == []


def test_the_book_that_nobody_collected_is_named(story: Story) -> None:
    with open_store(story.history.url) as store:
        updates = store.read("book_updates", symbol="BTCUSDT")
        named = store.read("gaps").filter(channel="book", reason="nobody collected")
    after = updates.with_columns(missing=pl.col("first_id") - pl.col("last_id").shift() - 1).filter(
        pl.col("missing") > 0
    )
    assert after.height
    begins = after.select((pl.col("first_id") - pl.col("missing")).cast(pl.String)).to_series()
    assert set(begins) <= set(named.get_column("from_id"))


def test_half_of_the_moments_are_named() -> None:
    moments = [moment for kind in MOMENTS for moment in [*MOMENTS[kind], *(MORE_MOMENTS[kind] if FULL else [])]]
    assert len(moments) == (50 if FULL else 8)
    assert 2 * sum(moment != AT_RANDOM for moment in moments) >= len(moments)
