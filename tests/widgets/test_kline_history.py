import asyncio
import math
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import polars as pl
import pytest

from marketlab import tables
from marketlab.errors import ConnectionLost, MarketlabError, StoreError, StoreUnavailable
from marketlab.exchange_server.local import LocalExchange
from marketlab.exchange_server.simulation import Simulation
from marketlab.records import Gap, Kline
from marketlab.stores.contract import Store
from marketlab.stores.memory import MemoryStore
from marketlab.streams.backoff import Backoff
from marketlab.streams.live import LiveFeed
from marketlab.streams.runner import StreamSettings
from marketlab.widgets.kline_bars import HEALED, Bars, Row, row_of
from marketlab.widgets.kline_history import History, OwnStore

from .klines import MINUTE

MIDNIGHT = 1_723_161_600_000_000
DAY = 86_400_000_000


@contextmanager
def simulated(duration: float) -> Iterator[tuple[LocalExchange, LiveFeed]]:
    """A simulation from noon on that is over at once; it knows what was before."""
    settings = StreamSettings(backoff=Backoff(0.001, 1.0, 0.001))
    source = Simulation(["BTCUSDT"], duration=duration, start="2024-08-09T12:00")
    with LocalExchange(source, speed=math.inf, start_after=0.1) as local:
        at: dict[str, Any] = {"ws_url": local.ws_url, "rest_url": local.rest_url, "settings": settings}
        with LiveFeed("BTCUSDT", ["trade"], **at) as feed:
            feed.wait(idle=0.3)
            yield local, feed


@pytest.fixture(scope="module")
def feed() -> Iterator[LiveFeed]:
    with simulated(200.0) as (_, running):
        yield running


def carried_out(feed: LiveFeed, work: Coroutine[Any, Any, None]) -> None:
    asyncio.run_coroutine_threadsafe(work, feed.loop).result(60)


def filled(feed: LiveFeed, store: Store | None = None, size: int = 50, interval: str = "1m") -> Bars:
    bars = Bars(interval, feed.inner.exchange.intervals[interval], size)
    carried_out(feed, History(feed.inner, "BTCUSDT", store).fill(bars))
    return bars


def over_rest(feed: LiveFeed, limit: int, interval: str = "1m") -> Sequence[Kline]:
    return tables.to_records("klines", feed.history("BTCUSDT", interval, limit))


def store_of(klines: Sequence[Kline], gaps: Sequence[Gap] = ()) -> MemoryStore:
    store = MemoryStore()
    store.write("klines", tables.to_table("klines", klines))
    if gaps:
        store.write("gaps", tables.to_table("gaps", gaps))
    return store


def rows_of(klines: Sequence[Kline]) -> list[Row]:
    return [row_of(kline, 0) for kline in klines]


def marked(kline: Kline) -> Kline:
    """What the store has is told apart by its trade count."""
    return msgspec.structs.replace(kline, trade_count=kline.trade_count + 1_000_000)


def test_the_window_equals_what_rest_gives(feed: LiveFeed) -> None:
    told = over_rest(feed, 50)
    assert filled(feed).rows() == rows_of(told)
    assert len(told) == 50


@pytest.mark.parametrize("interval", ["1s", "5m", "1h"])
def test_other_intervals_too_as_far_as_there_is_anything(feed: LiveFeed, interval: str) -> None:
    assert filled(feed, interval=interval).rows() == rows_of(over_rest(feed, 50, interval))


def test_more_than_one_answer_holds(feed: LiveFeed) -> None:
    bars = filled(feed, size=1_200)
    told = over_rest(feed, 1_200)
    assert bars.rows()[-len(told) :] == rows_of(told)
    assert not any(row[8] for row in bars.rows())


def test_the_day_before_the_window_is_there_for_the_average(feed: LiveFeed) -> None:
    bars = filled(feed)
    told = [kline for kline in over_rest(feed, 1_000) if kline.open_time >= MIDNIGHT]
    before = [kline for kline in told if kline.open_time < bars.first()]
    anchor = bars.anchor()
    assert anchor.time == told[0].open_time
    assert anchor.volume == pytest.approx(sum(kline.volume for kline in before))
    assert anchor.quote_volume == pytest.approx(sum(kline.quote_volume for kline in before))


def test_store_and_rest_meet_without_a_hole(feed: LiveFeed) -> None:
    told = over_rest(feed, 1_000)
    kept = [marked(kline) for kline in told[:-10]]
    rows = filled(feed, store_of(kept)).rows()
    assert rows == rows_of([*kept[-40:], *told[-10:]])


def test_from_the_first_that_the_store_lacks_the_exchange_is_asked(feed: LiveFeed) -> None:
    told = over_rest(feed, 1_000)
    kept = [marked(kline) for kline in told[:-1]]
    holed = filled(feed, store_of([*kept[:-30], *kept[-20:]])).rows()
    # What is closed in the store has the higher trade count here, and stays.
    assert holed == rows_of([*kept[-49:-30], *told[-31:-21], *kept[-20:], told[-1]])
    assert filled(feed, store_of(kept[-5:])).rows() == rows_of([*told[-50:-6], *kept[-5:], told[-1]])


def test_an_open_kline_of_the_store_is_none(feed: LiveFeed) -> None:
    told = over_rest(feed, 1_000)
    half = msgspec.structs.replace(told[-10], trade_count=1, closed=False)
    assert filled(feed, store_of([*told[:-10], half])).rows() == rows_of(told[-50:])


def test_a_store_without_the_symbol_or_anything_at_all_is_no_error(feed: LiveFeed) -> None:
    told = rows_of(over_rest(feed, 50))
    assert filled(feed, MemoryStore()).rows() == told
    other = msgspec.structs.replace(over_rest(feed, 1)[0], symbol="XRPUSDT")
    assert filled(feed, store_of([other])).rows() == told


def test_what_the_store_knows_was_fetched_back_is_marked(feed: LiveFeed) -> None:
    told = over_rest(feed, 1_000)
    time = told[-7].open_time
    gap = Gap("binance", "BTCUSDT", "trade", time + 1, time + 2, "1", "2", "missing", None, None, time, "stream")
    healed = msgspec.structs.replace(gap, start=time - MINUTE, end=time, healed_at=time, healed_from="rest")
    elsewhere = msgspec.structs.replace(healed, channel="book")
    rows = filled(feed, store_of(told, [gap, healed, elsewhere])).rows()
    assert [place for place, row in enumerate(rows) if int(row[8]) & HEALED] == [50 - 8]


class Away(MemoryStore):
    """A store that cannot be reached."""

    def read(self, name: str, **asked: Any) -> pl.DataFrame:
        raise StoreUnavailable("There is no store at delta://nowhere.")


def fill_in_vain(feed: LiveFeed, store: Store | None, *known: Kline) -> tuple[list[Row], MarketlabError]:
    bars = Bars("1m", MINUTE, 50)
    for kline in known:
        bars.add(kline)
    with pytest.raises(MarketlabError) as told:
        carried_out(feed, History(feed.inner, "BTCUSDT", store).fill(bars))
    return bars.rows(), told.value


def test_where_the_store_is_away_the_exchange_tells_and_the_error_is_said(feed: LiveFeed) -> None:
    rows, error = fill_in_vain(feed, Away())
    assert str(error) == "There is no store at delta://nowhere."
    assert rows == rows_of(over_rest(feed, 50))


def test_where_the_exchange_is_away_the_store_tells_and_the_error_is_said() -> None:
    with simulated(70.0) as (exchange, feed):
        told = over_rest(feed, 1_000)
        exchange.stop()
        rows, error = fill_in_vain(feed, None)
        assert isinstance(error, ConnectionLost)
        assert rows == []
        # What time it is then, the newest that the stream has brought says.
        rows, error = fill_in_vain(feed, store_of(told[:-1]), told[-1])
        assert isinstance(error, ConnectionLost)
        assert rows == rows_of(told[-50:])


class SlowStore(MemoryStore):
    """Reads until it may go on; notes whether it was closed before."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.go_on = threading.Event(), threading.Event()
        self.closed_while_read: bool | None = None
        self.closings = 0

    def read(self, name: str, **what: Any) -> pl.DataFrame:
        self.reading.set()
        assert self.go_on.wait(30)
        self.closed_while_read = bool(self.closings)
        return tables.to_table(name, [])

    def close(self) -> None:
        self.closings += 1


def test_a_store_is_not_closed_under_its_reader() -> None:
    slow = SlowStore()
    own = OwnStore(slow)
    reader = threading.Thread(target=own.read, args=("klines",))
    reader.start()
    assert slow.reading.wait(30)
    own.close()
    assert slow.closings == 0
    slow.go_on.set()
    reader.join()
    assert slow.closed_while_read is False
    assert slow.closings == 1
    with pytest.raises(StoreError, match="This store was closed"):
        own.read("klines")


def test_a_store_that_nobody_reads_is_closed_at_once() -> None:
    slow = SlowStore()
    OwnStore(slow).close()
    assert slow.closings == 1
