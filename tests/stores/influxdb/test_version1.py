"""InfluxDB 1.x as it is: what is written comes back, and every way it can fail is one sentence."""

from collections.abc import Callable, Iterator
from typing import NoReturn
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from marketlab import tables
from marketlab.errors import StoreDenied, StoreUnavailable, Unsupported, UsageError, WriteRejected
from marketlab.records import Gap, Trade
from marketlab.stores.influxdb import from_url
from marketlab.stores.open import open_store

from ...servers import InfluxServer, free_port
from ..conftest import Rows
from .far import AROUND, BESIDE

AT = 1_723_161_600_000_000

# Any character but halves of pairs and NUL, which no text of an exchange holds.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
TAG = TEXT.filter(lambda text: not ({"\n", "\r"} & set(text)) and not text.endswith("\\"))
NUMBER = st.floats(allow_nan=False, allow_infinity=False)


def trades(numbers: range, price: float = 60_000.0) -> pl.DataFrame:
    return tables.to_table("trades", [Rows().trade(number, price=price) for number in numbers])


@pytest.fixture
def url(influxdb1: InfluxServer) -> Iterator[str]:
    database = f"test_{uuid4().hex}"
    yield f"{influxdb1.url(database)}?create=true"
    httpx.post(f"http://{influxdb1.host}/query", data={"q": f'DROP DATABASE "{database}"'}).raise_for_status()


@pytest.fixture
def influxd(absent: Callable[[str, str], NoReturn]) -> type[InfluxServer]:
    """For who wants a server of its own."""
    reason = InfluxServer.missing()
    if reason:
        absent(InfluxServer.part, reason)
    return InfluxServer


def write_line(url: str, line: str) -> None:
    """As some other program writes it."""
    parts = urlsplit(url)
    answer = httpx.post(f"http://{parts.netloc}/write", params={"db": parts.path.strip("/")}, content=line)
    answer.raise_for_status()


def told(failing: Callable[[], object], kind: type[Exception]) -> str:
    """What is said: one sentence without a secret."""
    with pytest.raises(kind) as caught:
        failing()
    words = str(caught.value)
    assert words.endswith(".")
    assert "\n" not in words
    assert "secret" not in words
    return words


@given(
    st.lists(st.tuples(TAG.filter(bool), TAG.filter(bool), TAG, TEXT, st.integers(0, 2**62)), min_size=1, max_size=8),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_as_it_was(url: str, found: list[tuple[str, str, str, str, int]]) -> None:
    gaps = [
        Gap(exchange, symbol, channel, AT + place, number, None, "1", reason, number, "rest", number, "rest")
        for place, (exchange, symbol, channel, reason, number) in enumerate(found)
    ]
    table = tables.to_table("gaps", gaps)
    with open_store(f"{url}&prefix=p{uuid4().hex}_") as store:
        assert store.write("gaps", table) == table.height
        assert store.read("gaps").equals(tables.in_order("gaps", table))
        assert store.write("gaps", table) == 0


@given(
    st.lists(
        st.tuples(TEXT, NUMBER, NUMBER, st.integers(0, 999_999)), min_size=1, max_size=20, unique_by=lambda row: row[0]
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_id_and_number_comes_back_as_it_was(url: str, found: list[tuple[str, float, float, int]]) -> None:
    rows = [
        Trade("binance", "BTCUSDT", id, AT + at, price, size, "buy", AT, "stream")
        for id, price, size, at in found
        if not ({"\n", "\r"} & set(id)) and not id.endswith("\\")
    ]
    table = tables.to_table("trades", rows)
    with open_store(f"{url}&prefix=p{uuid4().hex}_") as store:
        assert store.write("trades", table) == table.height
        kept = store.read("trades").sort("trade_id")
        # -0.0 and 0.0 are equal here; every other number to the last bit.
        assert kept.equals(table.sort("trade_id"))


@pytest.mark.parametrize("bad", ["a\nb", "a\\", "\r"])
def test_a_tag_that_line_protocol_cannot_hold_is_refused_by_position(url: str, bad: str) -> None:
    rows = trades(range(3)).with_columns(
        symbol=pl.when(pl.col("trade_id") == "1").then(pl.lit(bad)).otherwise(pl.lit("BTCUSDT"))
    )
    with open_store(url) as store:
        with pytest.raises(WriteRejected, match="line break or a backslash") as caught:
            store.write("trades", rows[::-1])
        assert caught.value.rows == (1,)
        assert store.read("trades").is_empty()


def test_rows_of_one_microsecond_stay_apart(url: str) -> None:
    same = [Rows().trade(number, at=AT) for number in (*range(1_000), 5_000, 6_000)]
    odd = [Trade("binance", "BTCUSDT", id, AT, 1.0, 1.0, "buy", AT, "rest") for id in ("0007", "a-b", "", "9" * 30)]
    with open_store(url) as store:
        assert store.write("trades", tables.to_table("trades", same + odd)) == 1_006
        assert store.write("trades", tables.to_table("trades", odd)) == 4
        assert store.read("trades").height == 1_006
        assert store.coverage("trades")[0].rows == 1_006


def test_rows_handed_over_at_once_go_in_several_requests(url: str) -> None:
    table = trades(range(23_456))
    with open_store(url) as store:
        assert store.write("trades", table) == 23_456
        assert store.read("trades").equals(table)


def test_a_book_of_thousands_of_levels_comes_back(url: str) -> None:
    levels = [(60_000.0 + number / 100, number / 1e8) for number in range(5_000)]
    record = Rows().snapshot(1)
    table = tables.to_table("book_snapshots", [record]).with_columns(
        bids=pl.lit([{"price": price, "size": size} for price, size in levels], tables.LEVELS)
    )
    with open_store(url) as store:
        store.write("book_snapshots", table)
        assert store.read("book_snapshots").equals(table)


def test_a_question_is_answered_with_exact_types(url: str) -> None:
    with open_store(url) as store:
        store.write("trades", trades(range(5), price=42_000.0))
        found = store.query("SELECT price, received, trade_id FROM trade WHERE symbol = 'BTCUSDT'")
        assert found.schema == {
            "time": pl.Datetime("ns", "UTC"),
            "price": pl.Float64,
            "received": pl.Int64,
            "trade_id": pl.String,
        }
        assert found.height == 5
        grouped = store.query("SELECT count(price) FROM trade GROUP BY symbol, exchange")
        assert grouped.select("symbol", "exchange", "count").rows() == [("BTCUSDT", "binance", 5)]
        assert store.query("SELECT price FROM nothing").is_empty()
        assert store.query("SHOW MEASUREMENTS").get_column("name").to_list() == ["trade"]


def test_a_question_may_be_answered_in_pandas(url: str) -> None:
    pandas = pytest.importorskip("pandas")
    with from_url(url) as store:
        store.write("trades", trades(range(5)))
        assert isinstance(store.query("SELECT price FROM trade", pandas=True), pandas.DataFrame)


def test_what_is_not_understood_is_told_in_the_servers_words(url: str) -> None:
    with from_url(url) as store:
        assert "SELEC" in told(lambda: store.query("SELEC price"), UsageError)
        assert "undefined function" in told(lambda: store.query("SELECT nope(price) FROM trade"), UsageError)
        assert "InfluxQL alone" in told(lambda: store.query('from(bucket: "x") |> range(start: 0)'), UsageError)
        assert "InfluxQL alone" in told(lambda: store.query("SELECT 1", language="sql"), UsageError)
        assert "not 'cobol'" in told(lambda: store.query("SELECT 1", language="cobol"), UsageError)


def test_an_absent_database_is_told_until_it_is_made(url: str) -> None:
    plain = url.partition("?")[0]
    with open_store(plain) as store:
        assert not store.exists
        assert "create=true" in told(lambda: store.read("trades"), StoreDenied)
        assert "create=true" in told(lambda: list(store.batches("trades")), StoreDenied)
        assert "create=true" in told(lambda: store.write("trades", trades(range(1))), StoreDenied)
        assert "create=true" in told(lambda: store.query("SELECT * FROM trade"), StoreDenied)
        with open_store(url) as another:
            assert another.read("trades").is_empty()
        assert store.exists
        assert store.write("trades", trades(range(1))) == 1


def test_a_field_of_another_type_is_a_refusal_that_says_so(url: str) -> None:
    with open_store(url) as store:
        assert store.read("trades").is_empty()
        write_line(url, f'trade,exchange=binance,symbol=BTCUSDT price="dear",received=1i {AT}000')
        words = told(lambda: store.write("trades", trades(range(3))), WriteRejected)
        assert "field type conflict" in words
        assert "price" in words


def test_points_of_another_kind_are_not_read_as_ours(url: str) -> None:
    with open_store(url) as store:
        assert store.read("trades").is_empty()
        write_line(url, f'trade,exchange=binance,symbol=BTCUSDT price="dear",received=1i {AT}000')
        assert "prefix" in told(lambda: store.read("trades"), StoreDenied)


def test_a_point_of_another_exchange_keeps_no_kline_from_being_stored(url: str) -> None:
    weeks = [Rows().kline(number * 7 * 24 * 60) for number in (0, 4)]
    # In a week of its own, where its type is in nobody's way.
    between = Rows.midnight + 14 * 24 * 3_600_000_000
    with open_store(url) as store:
        assert store.read("trades").is_empty()
        write_line(url, f"crypto_price,exchange=kraken,symbol=BTCUSDT,interval=1m trade_count=1.5 {between}000")
        assert store.write("klines", tables.to_table("klines", weeks)) == 2
        assert store.read("klines", exchange="binance").height == 2


@pytest.mark.parametrize("exchange", ["binance", "kraken"])
def test_klines_whose_place_has_another_type_are_refused_and_not_tried_for_ever(url: str, exchange: str) -> None:
    with open_store(url) as store:
        assert store.read("trades").is_empty()
        line = f"crypto_price,exchange={exchange},symbol=BTCUSDT,interval=1m received=1i,trade_count=1.5"
        write_line(url, f"{line} {Rows.midnight}000")
        told(lambda: store.write("klines", tables.to_table("klines", [Rows().kline(0)])), WriteRejected)
        assert store.write("trades", trades(range(3))) == 3


def test_the_better_row_stays_whatever_interval_and_symbol_it_is_of(url: str) -> None:
    def klines(count: int) -> pl.DataFrame:
        minutes = [Rows().kline(number, symbol, count=count) for symbol in ("A", "B", "O'X") for number in (5, 9)]
        days = [replace(Rows().kline(0, symbol, count=count), interval="1d") for symbol in ("A", "O'X")]
        return tables.to_table("klines", [*minutes, *days])

    with open_store(url) as store:
        assert store.write("klines", klines(5)) == 8
        assert store.write("klines", klines(5)) == 0
        assert store.write("klines", klines(4)) == 0
        better = pl.concat([klines(4), klines(6).filter(symbol="O'X", interval="1d")])
        assert store.write("klines", better) == 1
        assert sorted(store.read("klines").get_column("trade_count")) == [5] * 7 + [6]


def test_points_of_other_programs_beside_ours_are_left_out(url: str) -> None:
    with open_store(url) as store:
        store.write("klines", tables.to_table("klines", [Rows().kline(1)]))
        write_line(url, f"crypto_price,exchange=binance,symbol=BTCUSDT price=1.0 {AT}000")
        assert store.read("klines", include_open=True).height == 1
        assert [found.rows for found in store.coverage("klines")] == [1]
        assert store.query("SELECT price FROM crypto_price").height == 2


def test_who_may_not_come_in_is_told_so(influxd: type[InfluxServer]) -> None:
    with influxd(password="secret") as server:
        url = f"influxdb://admin:secret@{server.host}/lab?create=true"
        with open_store(url) as store:
            assert store.write("trades", trades(range(3))) == 3
            assert "secret" not in repr(store) + store.url
        for who in ("admin:secret-not@", "nobody:secret@", ""):
            with open_store(f"influxdb://{who}{server.host}/lab") as store:
                for ask in (lambda: store.read("trades"), lambda: store.write("trades", trades(range(1)))):
                    assert "password" in told(ask, StoreDenied)
        httpx.post(
            f"http://{server.host}/query",
            auth=("admin", "secret"),
            data={"q": "CREATE USER guest WITH PASSWORD 'secret'; GRANT READ ON lab TO guest"},
        ).raise_for_status()
        with open_store(f"influxdb://guest:secret@{server.host}/lab") as store:
            assert store.read("trades").height == 3
            assert "not authorized" in told(lambda: store.write("trades", trades(range(1))), StoreDenied)
        with open_store(f"influxdb://guest:secret@{server.host}/other?create=true") as store:
            assert "guest" in told(lambda: store.write("trades", trades(range(1))), StoreDenied)


def test_a_host_without_a_server_is_told(url: str) -> None:
    for place in (f"127.0.0.1:{free_port()}", "no-such-host.invalid:8086"):
        with open_store(f"influxdb://{place}/lab") as store:
            words = told(lambda: store.read("trades"), StoreUnavailable)
            assert place in words
            assert "cannot be reached" in words


def test_a_server_without_tls_is_told(url: str) -> None:
    with open_store(f"{url}&tls=true") as store:
        assert "tls=" in told(lambda: store.read("trades"), StoreDenied)


def test_a_server_that_is_killed_while_reading_is_an_error_and_no_half_table(influxd: type[InfluxServer]) -> None:
    with influxd() as server, open_store(f"{server.url('lab')}?create=true") as store:
        store.write("trades", trades(range(150_000)))
        parts = store.batches("trades", rows=1_000)
        assert next(parts).height == 1_000
        server.kill()
        assert "nothing of the answer is given" in told(lambda: list(parts), StoreUnavailable)
        told(lambda: store.read("trades"), StoreUnavailable)
        server.start()
        assert store.read("trades").height == 150_000


def test_a_question_that_is_killed_on_the_server_is_an_error_though_its_answer_looks_whole(url: str) -> None:
    with open_store(url) as store:
        for start in range(0, 200_000, 50_000):
            store.write("trades", trades(range(start, start + 50_000)))
        parts = store.batches("trades", rows=1_000)
        assert next(parts).height == 1_000
        for number, text in store.query("SHOW QUERIES").select("qid", "query").rows():
            if text.startswith("SELECT") and "symbol" in text:
                store.query(f"KILL QUERY {number}")
        assert "stopped in the middle" in told(lambda: list(parts), StoreUnavailable)


@pytest.mark.parametrize(("start", "end"), AROUND)
def test_times_beyond_what_a_server_knows_are_open_ends(url: str, start: str | None, end: str | None) -> None:
    table = trades(range(3))
    with open_store(url) as store:
        store.write("trades", table)
        assert store.read("trades", start=start, end=end).equals(table)
        assert store.delete("trades", symbol="BTCUSDT", start=start, end=end) == 3
        assert store.read("trades").is_empty()


@pytest.mark.parametrize(("start", "end"), BESIDE)
def test_beyond_what_a_server_knows_there_is_nothing(url: str, start: str | None, end: str | None) -> None:
    with open_store(url) as store:
        store.write("trades", trades(range(3)))
        assert store.read("trades", start=start, end=end).is_empty()
        assert store.delete("trades", start=start, end=end) == 0
        assert store.read("trades").height == 3


def test_deleting_leaves_the_others_alone(url: str) -> None:
    with open_store(url) as store:
        both = [*Rows().trades(range(10)), *Rows().trades(range(10), "ETHUSDT")]
        store.write("trades", tables.to_table("trades", both))
        assert store.delete("trades", symbol="ETHUSDT", start=Rows.midnight + 5_000) == 5
        assert store.delete("trades", exchange="binance", end=Rows.midnight + 1) == 2
        assert store.read("trades").height == 13


def test_a_sandbox_leaves_no_measurement(url: str) -> None:
    with open_store(url) as store:
        store.write("trades", trades(range(3)))
        with store.sandbox() as sandbox:
            sandbox.write("trades", trades(range(3)))
            assert store.query("SHOW MEASUREMENTS").height == 2
        assert store.query("SHOW MEASUREMENTS").height == 1


def test_no_official_client_speaks_to_it(url: str) -> None:
    with from_url(url) as store, pytest.raises(Unsupported, match=r"1\.x"):
        store.client()


def test_a_refusal_is_told_in_words_and_not_in_bytes(influxd: type[InfluxServer]) -> None:
    with influxd(password="right") as server, from_url(f"influxdb://admin:wrong@{server.host}/x") as store:
        with pytest.raises(StoreDenied, match=r"authorization failed") as caught:
            store.read("trades")
        assert str(caught.value).isprintable()
        with pytest.raises(StoreDenied) as caught:
            store.query("SELECT price FROM trade")
        assert str(caught.value).isprintable()
    with influxd() as server, from_url(f"influxdb://{server.host}/x?create=true") as store:
        with pytest.raises(UsageError, match="found selec") as wrong:
            store.query("SHOW selec")
        assert str(wrong.value).isprintable()


def test_a_field_that_is_of_another_type_elsewhere_is_an_error_and_no_shorter_answer(url: str) -> None:
    with from_url(url) as store:
        store.write("klines", tables.to_table("klines", [Rows().kline(1), Rows().kline(2)]))
        # In a shard of its own, a month before, where the server lets it pass.
        long_before = AT - 30 * 86_400_000_000
        write_line(
            url, f'crypto_price,exchange=other,symbol=BTCUSDT,interval=1m received=1i,closed="yes" {long_before}000'
        )
        for exchange in (None, "binance"):
            with pytest.raises(StoreDenied, match="another kind"):
                store.read("klines", exchange=exchange)
        assert store.read("klines", start=AT).height == 2
