"""Several stores at once: each gets everything, at its own pace, out of a spool of its own."""

import logging
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, ClassVar

import polars as pl
import pytest

from marketlab import tables
from marketlab.config import Settings, load_settings
from marketlab.errors import StoreDenied, StoreUnavailable, UsageError
from marketlab.exchanges.contract import Subscription
from marketlab.lab.feeding import memory_of
from marketlab.lab.keeping import Keeper, RunningKlines
from marketlab.lab.opening import keeping, require_answers
from marketlab.lab.summary import Summary
from marketlab.records import Gap, Kline, Record, Trade
from marketlab.stores.contract import Batching, Commit
from marketlab.stores.delta import DeltaStore
from marketlab.stores.memory import MemoryStore
from marketlab.stores.spool import read_segment, segments
from marketlab.stores.spool_places import places
from marketlab.stores.writer import Writer

NOW = 1_723_161_600_000_000


def trade(number: int) -> Trade:
    return Trade("binance", "BTCUSDT", str(number), NOW + number, 1.0, 1.0, "buy", NOW, "stream")


def kline(minute: int, *, closed: bool, count: int = 1) -> Kline:
    start = NOW + minute * 60_000_000
    prices = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, count, 1.0, 1.0)
    return Kline("binance", "BTCUSDT", "1m", start, start + 59_999_999, *prices, closed, start, "stream")


class ServedStore(MemoryStore):
    """A store on a server, which may be away, deny, or be slow to answer."""

    scheme: ClassVar[str] = "served"
    batching: Batching = Batching(rows=10, seconds=0.05, bytes=1_000_000)

    def __init__(self, url: str, failure: StoreUnavailable | None = None) -> None:
        super().__init__(url)
        self.failure = failure
        self.answers = Event()
        self.answers.set()

    @property
    def exists(self) -> bool:
        self._answer()
        return super().exists

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        self._answer()
        return super().write(name, table, commit)

    def _find(self, wanted: Any) -> pl.DataFrame:
        self._answer()
        return super()._find(wanted)

    def _answer(self) -> None:
        self.answers.wait()
        if self.failure is not None:
            raise self.failure


class OverwritingStore(ServedStore):
    overwrites: ClassVar[bool] = True


class Basket:
    """A queue: it can be written to and not be read."""

    scheme: ClassVar[str] = "basket"
    batching: Batching = Batching(rows=10, seconds=0.05, bytes=1_000_000)
    spool: Path | None = None
    url = "basket://here"

    def __init__(self, failure: StoreUnavailable | None = None) -> None:
        self.rows: dict[str, int] = {}
        self.failure = failure

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        self.rows[name] = self.rows.get(name, 0) + table.height
        return table.height

    def waiting(self) -> int:
        if self.failure is not None:
            raise self.failure
        return 0

    def close(self) -> None:
        pass

    def __enter__(self) -> "Basket":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(folder=tmp_path, environ={}, spool=tmp_path / "spool")


def ids(store: MemoryStore | DeltaStore) -> list[str]:
    return store.read("trades").get_column("trade_id").to_list()


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    tick = Event()
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it did not come to pass"
        tick.wait(0.01)


@pytest.mark.parametrize("way", ["slow", "away", "denies"])
def test_one_store_that_does_not_answer_delays_no_other(settings: Settings, tmp_path: Path, way: str) -> None:
    good, bad, local = ServedStore("served://good"), ServedStore("served://bad"), DeltaStore(tmp_path / "delta")
    with keeping([bad, good, local], settings) as keeper:
        if way == "slow":
            bad.answers.clear()
        else:
            bad.failure = StoreDenied("No.") if way == "denies" else StoreUnavailable("Away.")
        for start in range(0, 200, 10):
            keeper.accept([trade(number) for number in range(start, start + 10)])
        wait_until(lambda: len(ids(good)) == 200)
        wait_until(lambda: len(ids(local)) == 200)
        waiting = {kept.store: kept.pending for kept in keeper.account()}
        assert waiting["served://bad"] == 200
        bad.failure = None
        bad.answers.set()
        assert [kept.pending for kept in keeper.close()] == [0, 0, 0]
    assert ids(bad) == [str(number) for number in range(200)]


def test_spools_are_not_mixed(settings: Settings, tmp_path: Path) -> None:
    """What one store could not take is never given to another, whoever comes next."""
    dead = StoreUnavailable("Away.")
    with keeping([ServedStore("served://one", None), ServedStore("served://two", None)], settings) as keeper:
        for store in keeper.stores:
            assert isinstance(store, ServedStore)
            store.failure = dead
        keeper.accept([trade(1)])
    with keeping([ServedStore("served://two", None)], settings) as keeper:
        keeper.accept([trade(2)])
        wait_until(lambda: not keeper.account()[0].pending)
        (store,) = keeper.stores
        wait_until(lambda: store.read("trades").height == 2)
    one, two = [place for _, place in sorted(places(settings.spool))]
    waiting = [record for path in segments(one) for record in read_segment(path).records]
    assert waiting == [trade(1)]
    assert segments(two) == []
    third = ServedStore("served://three", None)
    with keeping([third], settings):
        pass
    assert ids(third) == []


def test_the_spools_of_several_stores_are_let_go_at_the_same_time(settings: Settings) -> None:
    stores = [ServedStore(f"served://{number}", None) for number in range(3)]
    with keeping(stores, settings) as keeper:
        for store in stores:
            store.failure = StoreUnavailable("Busy.", retry_after=5.0)
        keeper.accept([trade(1)])
        began = monotonic()
        kept = keeper.close(timeout=2.0)
        assert monotonic() - began < 5.5
    assert [(one.pending, one.failure) for one in kept] == [(1, "Busy.")] * 3


def test_a_store_that_denies_at_the_start_is_the_callers_mistake(settings: Settings) -> None:
    denies = ServedStore("served://one", StoreDenied("The token is wrong."))
    with pytest.raises(StoreDenied, match="The token is wrong"), keeping([MemoryStore(), denies], settings):
        pytest.fail("it has begun")
    with (
        pytest.raises(StoreDenied, match="Wrong password"),
        keeping([Basket(StoreDenied("Wrong password."))], settings),
    ):
        pytest.fail("it has begun")
    assert not list(settings.spool.glob("*"))


def test_a_store_that_is_away_at_the_start_is_waited_for(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    away = ServedStore("served://one", StoreUnavailable("Nobody answers."))
    with keeping([away], settings) as keeper:
        assert caplog.messages == ["Nobody answers. What comes waits in the spool meanwhile."]
        keeper.accept([trade(1)])
        wait_until(lambda: keeper.account()[0].failure)
    assert ids(ServedStore("served://one")) == []
    again = ServedStore("served://one")
    with keeping([again], settings):
        pass
    assert ids(again) == ["1"]


def test_whoever_is_not_patient_is_told_that_a_store_is_away(settings: Settings) -> None:
    away = ServedStore("served://one", StoreUnavailable("Nobody answers."))
    with (
        pytest.raises(StoreUnavailable, match="Nobody answers"),
        keeping([away], settings, patient=False),
    ):
        pytest.fail("it has begun")


def test_a_store_that_never_says_whether_it_is_there_is_one_that_does_not_answer(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store = ServedStore("served://one")
    store.answers.clear()
    require_answers([store], settings, patient=True, within=0.05)
    assert caplog.messages == ["served://one does not answer within 0.05 s. What comes waits in the spool meanwhile."]
    with pytest.raises(StoreUnavailable, match=r"does not answer within 0\.05 s"):
        require_answers([store], settings, patient=False, within=0.05)
    store.answers.set()


def test_what_cannot_be_read_is_written_to_and_nothing_else(settings: Settings) -> None:
    basket, store = Basket(), ServedStore("served://one")
    with keeping([basket, store], settings) as keeper:
        assert keeper.stores == [store]
        keeper.accept([trade(1), kline(0, closed=True), kline(1, closed=False)])
    assert basket.rows == {"trades": 1, "klines": 1}
    with keeping([Basket()], settings) as keeper:
        assert keeper.trades("BTCUSDT", NOW, NOW + 1) == []


def test_only_stores_that_overwrite_get_running_klines(settings: Settings) -> None:
    plain, overwriting = ServedStore("served://one"), OverwritingStore("served://two")
    with keeping([plain, overwriting], settings) as keeper:
        keeper.accept([kline(0, closed=False, count=1), kline(0, closed=False, count=2)])
        wait_until(lambda: overwriting.scan("klines").collect().height == 1)
        assert overwriting.scan("klines").collect().get_column("trade_count").to_list() == [2]
        keeper.accept([kline(0, closed=True, count=3), kline(1, closed=False, count=1)])
    for store, minutes in ((plain, [True]), (overwriting, [True, False])):
        klines = store.read("klines", include_open=True)
        assert klines.get_column("closed").to_list() == minutes


def test_a_closed_kline_takes_the_place_of_the_running_one() -> None:
    running = RunningKlines()
    running.note([kline(0, closed=False), trade(1), kline(0, closed=True)])
    assert running() == []
    running.note([kline(1, closed=False), kline(0, closed=True)])
    assert running() == [kline(1, closed=False)]


def test_a_spool_that_is_full_does_not_keep_anything_from_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class FullWriter(Writer):
        def accept(self, records: Any) -> None:
            raise StoreUnavailable("The spool has reached its limit.")

    full, good = MemoryStore("memory://full"), MemoryStore("memory://good")
    with FullWriter(full, spool=tmp_path / "full") as first, Writer(good, spool=tmp_path / "good") as second:
        with pytest.raises(StoreUnavailable, match="reached its limit"):
            Keeper([(full, first)]).accept([trade(1)])
        keeper = Keeper([(full, first), (good, second)])
        keeper.accept([trade(1)])
        keeper.accept([trade(2), trade(3)])
        given_up, other = keeper.close()
    assert ids(good) == ["1", "2", "3"]
    assert (given_up.missed, other.missed, other.rows) == (3, 0, {"trades": 3})
    (told,) = [message for message in caplog.messages if "reached its limit" in message]
    assert told.startswith("memory://full gets nothing more from now on (2")
    summary = Summary("binance", "stream", "stopped", 1.0, 3, 0, 0, 0, 0, {}, [given_up, other])
    (failure,) = summary.failures
    assert failure.startswith("3 records did not get to memory://full: given up since 2")
    assert failure.endswith(" UTC, as The spool has reached its limit.")


def test_when_the_last_spool_takes_no_more_either_it_is_told(tmp_path: Path) -> None:
    class FullWriter(Writer):
        def accept(self, records: Any) -> None:
            raise StoreUnavailable(f"{self.spool.name} is full.")

    first, second = (MemoryStore(f"memory://{name}") for name in ("first", "second"))
    with FullWriter(first, spool=tmp_path / "a") as full, Writer(second, spool=tmp_path / "b") as good:
        keeper = Keeper([(first, full), (second, good)])
        keeper.accept([trade(1)])
        good.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            keeper.accept([trade(2)])
    assert ids(second) == ["1"]


def test_resuming_counts_what_waits_and_is_not_stopped_by_a_store_that_is_away(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    streams = [Subscription("BTCUSDT", "trade")]

    def asked(store: ServedStore, *records: Record) -> list[Any]:
        with keeping([store], settings) as keeper:
            memory = memory_of(settings, keeper)
            assert memory is not None
            found = list(memory(streams, NOW + 1_000_000, "rest"))
            store.failure = StoreUnavailable("Away.")
            keeper.accept(list(records))
            return found

    gap = Gap("binance", "BTCUSDT", "trade", NOW + 2, NOW + 3, "2", "2", "hole", None, None, NOW, "stream")
    assert asked(ServedStore("served://one"), trade(1), trade(3), gap) == []
    assert asked(ServedStore("served://one", StoreUnavailable("Away."))) == [trade(3), gap]
    assert "Away. What was missed since it was last written is not fetched back." in caplog.messages
    stored = ServedStore("served://one")
    stored.failure = None
    stored.write("trades", tables.to_table("trades", [trade(7)]))
    assert asked(stored)[0] == trade(7)


def test_a_url_that_no_store_answers_to_is_a_mistake(settings: Settings) -> None:
    with pytest.raises(UsageError, match="oracle://"), keeping(["oracle://x"], settings):
        pytest.fail("it has begun")


def test_the_account_tells_what_was_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ServedStore("served://one", StoreUnavailable("Away."))

    def at_once() -> Iterator[float]:
        while True:
            yield 0.001

    caplog.set_level(logging.WARNING)
    writer = Writer(
        store,
        spool=tmp_path,
        batching=Batching(10, 3600.0, 1_000_000),
        sync_seconds=0.005,
        delays=at_once,
        spool_bytes=2_000,
        when_full="drop",
    )
    keeper = Keeper([(store, writer)])
    for start in range(0, 500, 10):
        keeper.accept([trade(number) for number in range(start, start + 10)])
        wait_until(lambda: not writer._pending)
    (kept,) = keeper.close(timeout=5.0)
    assert kept.dropped > 0
    waiting = [record for path in segments(tmp_path) for record in read_segment(path).records]
    assert kept.dropped + len(waiting) == 500
    told = [message for message in caplog.messages if "limit" in message]
    assert told == [f"The spool {tmp_path} has reached its limit of 2,000 bytes: the oldest records are given up."]
    assert kept.failure == "Away."
