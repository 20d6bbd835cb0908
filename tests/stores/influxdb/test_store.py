"""How a table becomes requests, and what becomes of it when some of them fail; the server is a list here."""

from collections.abc import Callable, Iterator, Sequence
from threading import Lock

import polars as pl
import pytest
from msgspec.structs import replace

from marketlab import tables
from marketlab.errors import StoreDenied, StoreUnavailable, WriteRejected
from marketlab.stores.influxdb import layout
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.dialect import Dialect, Limits
from marketlab.stores.influxdb.store import InfluxStore
from marketlab.stores.selection import Selection, micros

from ..conftest import Rows


class Remembering:
    """Keeps the bodies that it is sent, after `judge` had a look at each."""

    version = 1

    def __init__(self, limits: Limits, judge: Callable[[bytes], None] = lambda body: None) -> None:
        self.limits = limits
        self.bodies: list[bytes] = []
        self.closed = 0
        self._judge = judge
        self._lock = Lock()

    def exists(self) -> bool:
        return True

    def create(self) -> None:
        pass

    def write(self, body: bytes) -> None:
        with self._lock:
            self.bodies.append(body)
        self._judge(body)

    def measurements(self) -> set[str]:
        return set()

    def instruments(self) -> set[tuple[str, str]]:
        return set()

    def rows(self, wanted: Selection, columns: Sequence[str], symbols: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        return iter(())

    def delete(self, going: Selection) -> None:
        pass

    def drop(self, measurement: str) -> None:
        pass

    def query(self, text: str, language: str) -> pl.DataFrame:
        return pl.DataFrame({"language": [language]})

    def client(self) -> None:
        return None

    def close(self) -> None:
        self.closed += 1


def store_of(dialect: Dialect, url: str = "influxdb://host/lab") -> InfluxStore:
    return InfluxStore(Address.of(url), lambda address: dialect)


def trades(count: int) -> pl.DataFrame:
    return tables.to_table("trades", Rows().trades(range(count)))


@pytest.mark.parametrize(("lines", "size"), [(10, 10**9), (10**9, 1_000), (7, 1_000), (1, 1), (10**9, 10**9)])
def test_no_request_is_larger_than_the_server_takes_and_no_line_is_lost(lines: int, size: int) -> None:
    dialect = Remembering(Limits(lines=lines, bytes=size, parallel=3))
    with store_of(dialect) as store:
        assert store.write("trades", trades(95)) == 95
    found = [body.decode().split("\n") for body in dialect.bodies]
    assert all(len(body) <= lines for body in found)
    assert all(len(body) <= size or b"\n" not in body for body in dialect.bodies)
    times = sorted(int(line.rpartition(" ")[2]) for body in found for line in body)
    assert times == sorted((Rows.midnight + number * 1_000) * 1_000 + number for number in range(95))


def refuse(word: bytes, error: Exception) -> Callable[[bytes], None]:
    def judge(body: bytes) -> None:
        if word in body:
            raise error

    return judge


def test_lines_that_a_server_names_are_places_in_the_table() -> None:
    judge = refuse(b"trade", WriteRejected("no.", rows=(0, 2)))
    table = trades(4)[::-1]
    with (
        store_of(Remembering(Limits(100, 10**6, 2), judge)) as store,
        pytest.raises(WriteRejected) as caught,
    ):
        store.write("trades", pl.concat([table, table.head(2)]))
    # The rows of time 0 and 2, wherever they stand.
    assert caught.value.rows == (1, 3, 5)


def test_of_several_requests_no_place_is_named_since_some_are_stored() -> None:
    judge = refuse(b'trade_id="7"', WriteRejected("no.", rows=(0,)))
    dialect = Remembering(Limits(3, 10**6, 2), judge)
    with store_of(dialect) as store, pytest.raises(WriteRejected) as caught:
        store.write("trades", trades(20))
    assert caught.value.rows == ()
    assert len(dialect.bodies) == 7


def test_what_may_go_through_later_counts_before_what_never_will() -> None:
    def judge(body: bytes) -> None:
        if b'trade_id="1"' in body:
            raise WriteRejected("no.")
        if b'trade_id="17"' in body:
            raise StoreUnavailable("later.", retry_after=3.0)

    with store_of(Remembering(Limits(3, 10**6, 2), judge)) as store, pytest.raises(StoreUnavailable) as caught:
        store.write("trades", trades(20))
    assert caught.value.retry_after == 3.0


class Asked(Remembering):
    """Keeps what it is asked for."""

    def __init__(self) -> None:
        super().__init__(Limits(100_000, 10**9, 1))
        self.asked: list[tuple[Selection, list[str]]] = []

    def rows(self, wanted: Selection, columns: Sequence[str], symbols: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        self.asked.append((wanted, list(symbols)))
        return iter(())


def klines(*found: tuple[str, str, str, int]) -> pl.DataFrame:
    rows = [
        replace(Rows().kline(number, symbol), exchange=exchange, interval=interval)
        for exchange, symbol, interval, number in found
    ]
    return tables.to_table("klines", rows)


def test_klines_are_looked_for_by_exchange_and_interval_and_in_their_own_time_alone() -> None:
    table = klines(
        ("binance", "B", "1m", 1200),
        ("binance", "A", "1m", 1201),
        ("binance", "A", "1d", 0),
        ("okx", "A", "1m", 7),
    )
    dialect = Asked()
    with store_of(dialect) as store:
        assert store.write("klines", table) == 4
    found = {
        (wanted.exchange, wanted.interval): (wanted.symbol, symbols, micros(wanted.start), micros(wanted.end))
        for wanted, symbols in dialect.asked
    }
    minute = 60_000_000
    assert len(dialect.asked) == 3
    assert found == {
        ("binance", "1m"): (None, ["A", "B"], Rows.midnight + 1200 * minute, Rows.midnight + 1201 * minute + 1),
        ("binance", "1d"): ("A", [], Rows.midnight, Rows.midnight + 1),
        ("okx", "1m"): ("A", [], Rows.midnight + 7 * minute, Rows.midnight + 7 * minute + 1),
    }


def test_no_question_names_very_many_symbols_and_none_is_left_out() -> None:
    names = [f"S{number:03}" for number in range(450)]
    dialect = Asked()
    with store_of(dialect) as store:
        store.write("klines", klines(*(("binance", name, "1m", 0) for name in names)))
    assert [len(symbols) for _, symbols in dialect.asked] == [200, 200, 50]
    assert [symbol for _, symbols in dialect.asked for symbol in symbols] == names


@pytest.mark.parametrize("name", ["trades", "klines"])
@pytest.mark.parametrize("year", [1676, 2263, 9999, 200_000])
def test_a_row_whose_time_no_server_can_hold_is_refused_by_position(name: str, year: int) -> None:
    far = (year - 1970) * 31_556_952_000_000
    good = klines(("binance", "A", "1m", 1)) if name == "klines" else trades(1)
    time = tables.spec(name).time
    bad = good.with_columns(pl.lit(far).cast(tables.TIME).alias(time), symbol=pl.lit("B"))
    dialect = Asked()
    with store_of(dialect) as store, pytest.raises(WriteRejected, match="before 1677 or after 2262") as caught:
        store.write(name, pl.concat([bad, good, bad]))
    assert caught.value.rows == (0, 2)
    assert not dialect.bodies
    assert not dialect.asked


def test_the_first_and_the_last_time_are_written_as_they_are() -> None:
    ends = [Rows().trade(0, at=layout.OLDEST), Rows().trade(999, at=layout.YOUNGEST - 1)]
    dialect = Remembering(Limits(10, 10**6, 1))
    with store_of(dialect) as store:
        assert store.write("trades", tables.to_table("trades", ends)) == 2
    assert [int(line.rpartition(b" ")[2]) for line in dialect.bodies[0].split(b"\n")] == [
        -9_223_372_036_854_775_000,
        9_223_372_036_854_774_999,
    ]


def test_levels_that_are_not_ours_are_told() -> None:
    class Foreign(Remembering):
        def rows(
            self, wanted: Selection, columns: Sequence[str], symbols: Sequence[str] = ()
        ) -> Iterator[pl.DataFrame]:
            yield pl.DataFrame({"time": [1], "received": [1], "exchange": ["x"], "symbol": ["X"], "bids": ["none"]})

    with store_of(Foreign(Limits(10, 10**6, 2))) as store, pytest.raises(StoreDenied, match="points of another kind"):
        store.read("book_snapshots")


def test_who_answers_is_found_out_once_and_at_the_first_question() -> None:
    asked: list[Address] = []
    dialect = Remembering(Limits(10, 10**6, 2))

    def connect(address: Address) -> Dialect:
        asked.append(address)
        if len(asked) == 1:
            raise StoreDenied("not yet.")
        return dialect

    store = InfluxStore(Address.of("influxdb://host/lab"), connect)
    assert not asked
    with pytest.raises(StoreDenied):
        store.read("trades")
    assert store.read("trades").is_empty()
    assert store.exists
    assert store.version == 1
    assert len(asked) == 2
    store.close()
    store.close()
    assert dialect.closed == 1
    with pytest.raises(StoreUnavailable, match="closed"):
        store.query("SELECT 1")


def test_the_language_is_found_out_or_named() -> None:
    with store_of(Remembering(Limits(10, 10**6, 2))) as store:
        assert store.query("SELECT 1").item() == "influxql"
        assert store.query('from(bucket: "x")').item() == "flux"
        assert store.query("SELECT 1", language="sql").item() == "sql"
