"""InfluxDB 3 behind the store's contract: what the conformance suite does not see."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import polars as pl
import pytest

from marketlab import tables
from marketlab.errors import MarketlabError, StoreDenied, StoreUnavailable, Unsupported, UsageError, WriteRejected
from marketlab.records import Gap, Trade
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.dialect import Dialect, Limits
from marketlab.stores.influxdb.store import InfluxStore
from marketlab.stores.influxdb.version3 import Version3
from marketlab.stores.open import open_store
from marketlab.stores.selection import Selection

from ..conftest import Rows
from .far import AROUND, BESIDE
from .server3.points import points
from .server3.server import Server3
from .server3.web import Request

DAY = 1_723_161_600_000_000
HOUR = 3_600_000_000


def trades(count: int, step: int = 1_000, symbol: str = "BTCUSDT") -> pl.DataFrame:
    return tables.to_table(
        "trades",
        [
            Trade("binance", symbol, str(number), DAY + number * step, 100.0 + number, 0.5, "buy", DAY, "stream")
            for number in range(count)
        ],
    )


@pytest.fixture
def server() -> Iterator[Server3]:
    with Server3(token="secret") as running:
        running.catalog.create("test")
        yield running


@pytest.fixture
def store(server: Server3) -> Iterator[Any]:
    with opened(server) as found:
        yield found


def opened(server: Server3, database: str = "test", token: str = "secret", more: str = "") -> Any:
    return open_store(f"influxdb://:{token}@{server.host}/{database}?version=3{more}")


@pytest.fixture
def dialect(server: Server3) -> Iterator[Dialect]:
    with closing(Version3(Address.of(f"influxdb://:secret@{server.host}/test?version=3"))) as found:
        yield found


def writes(server: Server3) -> list[Request]:
    return [request for request in server.requests if request.path == "/api/v3/write_lp"]


def one_sentence(error: MarketlabError) -> str:
    text = str(error)
    assert text.startswith("InfluxDB at 127.0.0.1:")
    assert text.endswith(".")
    assert "\n" not in text
    assert "secret" not in text
    return text


def test_the_server_is_found_to_be_of_version_3(server: Server3) -> None:
    with open_store(f"influxdb://:secret@{server.host}/test") as store:
        assert isinstance(store, InfluxStore)
        assert store.version == 3


def test_writes_are_waited_for_whole_and_in_nanoseconds(server: Server3, store: Any) -> None:
    assert store.write("trades", trades(3)) == 3
    (request,) = writes(server)
    assert request.query == {"db": "test", "precision": "nanosecond", "accept_partial": "false"}
    assert request.headers["authorization"] == "Bearer secret"
    assert store.read("trades").equals(trades(3))


def test_much_is_written_in_large_requests_at_once(server: Server3) -> None:
    assert 5_000_000 < Version3.limits.bytes < 10_485_760
    assert Version3.limits.lines >= 40_000
    server.web.flush_s = 1.0
    table = trades(2_000)
    with InfluxStore(Address.of(f"influxdb://:secret@{server.host}/test"), smaller) as store:
        assert store.write("trades", table) == 2_000
        assert len(writes(server)) == 4
        assert server.web.most_at_once > 1
        assert store.read("trades").equals(table)


def smaller(address: Address) -> Dialect:
    found = Version3(address)
    found.limits = Limits(lines=500, bytes=Version3.limits.bytes, parallel=Version3.limits.parallel)
    return found


def test_a_missing_database_gets_nothing_unless_it_shall_be_made(server: Server3) -> None:
    with opened(server, "misspelt") as store:
        assert not store.exists
        with pytest.raises(StoreDenied, match="no database 'misspelt'") as caught:
            store.write("trades", trades(1))
        one_sentence(caught.value)
        with pytest.raises(StoreDenied, match="no database 'misspelt'") as caught:
            store.read("trades")
        one_sentence(caught.value)
    assert list(server.catalog.databases) == ["test"]
    with opened(server, "misspelt", more="&create=true") as store:
        assert store.write("trades", trades(1)) == 1
        assert store.exists
    with opened(server, "misspelt", more="&create=true") as store:
        assert store.read("trades").height == 1


def test_a_sixth_database_is_refused_in_the_servers_words(server: Server3) -> None:
    for number in range(4):
        server.catalog.create(f"other{number}")
    with (
        opened(server, "sixth", more="&create=true") as store,
        pytest.raises(StoreDenied, match="limit of 5 databases") as caught,
    ):
        store.write("trades", trades(1))
    one_sentence(caught.value)


def test_a_wrong_token_is_told(server: Server3) -> None:
    with opened(server, token="wrong") as store:
        asks: list[Callable[[], object]] = [
            lambda: store.write("trades", trades(1)),
            lambda: store.read("trades"),
            lambda: store.exists,
        ]
        for ask in asks:
            with pytest.raises(StoreDenied, match="mend the token") as caught:
                ask()
            assert "wrong" not in one_sentence(caught.value)


def test_a_server_without_tokens_lets_everybody_in() -> None:
    with Server3() as server:
        server.catalog.create("test")
        with open_store(f"influxdb://{server.host}/test?version=3") as store:
            assert store.write("trades", trades(2)) == 2
            assert store.read("trades").height == 2


def test_a_server_that_is_gone_is_told_and_found_again(server: Server3, store: Any) -> None:
    store.write("trades", trades(1))
    server.stop()
    with pytest.raises(StoreUnavailable) as caught:
        store.write("trades", trades(2))
    one_sentence(caught.value)
    server.start()
    assert store.write("trades", trades(2)) == 2


def test_a_field_of_another_type_refuses_every_row_that_has_it(server: Server3, store: Any) -> None:
    server.catalog.databases["test"].write(points('trade,exchange=a,symbol=b price="1" 1'), 1)
    with pytest.raises(WriteRejected, match="column 'price', expected iox::column_type::field::string") as caught:
        store.write("trades", trades(5))
    one_sentence(caught.value)
    assert caught.value.rows == (0, 1, 2, 3, 4)
    with pytest.raises(StoreDenied, match="holds price as String and not as Float64") as denied:
        store.read("trades")
    one_sentence(denied.value)


def test_rows_without_that_field_are_not_refused(server: Server3, store: Any) -> None:
    server.catalog.databases["test"].write(points("gap,exchange=a,symbol=b,channel=c healed_from=1 1"), 1)
    gaps = [
        Gap("binance", "A", "trade", DAY, DAY + 5, None, None, 'said " healed_from=', None, None, DAY, "stream"),
        Gap("binance", "A", "trade", DAY + 9, DAY + 9, None, None, "hole", DAY, "rest", DAY, "stream"),
    ]
    with pytest.raises(WriteRejected, match="healed_from") as caught:
        store.write("gaps", tables.to_table("gaps", gaps))
    assert caught.value.rows == (1,)
    assert store.write("gaps", tables.to_table("gaps", gaps[:1])) == 1


def test_a_line_that_is_refused_is_named_and_nothing_is_stored(dialect: Dialect) -> None:
    body = b't,s=A x="a\nb" 1\nt,s=A v=1 1\nt,s=A v= 2\nt,s=A v=3 3'
    with pytest.raises(WriteRejected, match="No fields were provided") as caught:
        dialect.write(body)
    assert caught.value.rows == (2,)
    assert dialect.measurements() == set()
    with pytest.raises(WriteRejected, match="max request size") as caught:
        dialect.write(b"t,s=A v=1 1\n" * 1_000_000)
    assert caught.value.rows == ()


def test_history_that_lies_in_too_many_files_is_read_in_stretches_of_time(server: Server3, store: Any) -> None:
    table = trades(500, step=HOUR // 10)
    store.write("trades", table)
    server.web.files = 5
    assert store.read("trades").equals(table)
    parts = list(store.batches("trades", rows=64))
    assert pl.concat(parts).equals(table)
    assert [found.rows for found in store.coverage("trades")] == [500]
    some = store.read("trades", symbol="BTCUSDT", start=DAY + HOUR, end=DAY + 3 * HOUR)
    assert some.equals(table[10:30])
    assert store.read("trades", end=DAY).is_empty()
    with pytest.raises(UsageError, match="ask for less time"):
        store.query("SELECT max(time) FROM trade")


def test_a_file_limit_that_not_even_a_second_meets_is_told(server: Server3, store: Any) -> None:
    store.write("trades", trades(2))
    server.web.files = 0
    with pytest.raises(StoreUnavailable, match="--query-file-limit") as caught:
        store.read("trades", start=DAY, end=DAY + HOUR)
    one_sentence(caught.value)


def test_symbol_exchange_interval_and_time_are_asked_of_the_server(server: Server3, dialect: Dialect) -> None:
    dialect.write(b"crypto_price,exchange=o'x,symbol=A,interval=1m close=1,volume=2 60000000000\n")
    wanted = Selection.of("klines", "o'x", "A", "1m", DAY - 1, DAY)
    assert list(dialect.rows(wanted, ["symbol", "close"])) == []
    assert server.asked[-1] == (
        'SELECT "time", "close" FROM "crypto_price" WHERE "exchange" = \'o\'\'x\' AND "symbol" = \'A\' '
        "AND \"interval\" = '1m' AND time >= '2024-08-08T23:59:59.999999Z' AND time < '2024-08-09T00:00:00.000000Z' "
        "ORDER BY time"
    )
    (table,) = dialect.rows(Selection.of("klines", "o'x", "A", "1m"), ["symbol", "close", "price", "interval"])
    assert table.to_dicts() == [{"time": 60_000_000_000, "close": 1.0, "symbol": "A", "interval": "1m"}]


def test_several_symbols_are_asked_for_at_once(server: Server3, dialect: Dialect) -> None:
    lines = [f"crypto_price,exchange=x,symbol={symbol},interval=1m close=1 1" for symbol in ("A", "B", "o'x")]
    dialect.write("\n".join(lines).encode())
    found = list(dialect.rows(Selection.of("klines", "x", None, "1m"), ["symbol", "close"], ["A", "o'x"]))
    assert sorted(pl.concat(found).get_column("symbol")) == ["A", "o'x"]


def test_a_table_without_our_tags_holds_none_of_our_rows(dialect: Dialect, store: Any) -> None:
    dialect.write(b"crypto_price,coin=A close=1 1\n")
    assert list(dialect.rows(Selection.of("klines", "x", "A"), ["close"])) == []
    assert store.read("klines").is_empty()
    assert store.write("klines", tables.to_table("klines", [Rows().kline(0)])) == 1
    assert store.read("klines").height == 1


def test_klines_whose_table_has_another_type_are_refused_and_not_tried_for_ever(dialect: Dialect, store: Any) -> None:
    dialect.write(b"crypto_price,exchange=binance,symbol=BTCUSDT,interval=1m received=1i,trade_count=1.5 %d000" % DAY)
    with pytest.raises(WriteRejected, match="trade_count") as caught:
        store.write("klines", tables.to_table("klines", [Rows().kline(0)]))
    one_sentence(caught.value)


@pytest.mark.parametrize(("start", "end", "found"), [*((*far, 3) for far in AROUND), *((*far, 0) for far in BESIDE)])
def test_times_beyond_what_a_server_knows_are_open_ends(
    store: Any, start: str | None, end: str | None, found: int
) -> None:
    store.write("trades", trades(3))
    assert store.read("trades", start=start, end=end).height == found


def test_instruments_are_found_in_every_table_and_stretch(server: Server3, store: Any, dialect: Dialect) -> None:
    store.write("trades", pl.concat([trades(100, step=HOUR), trades(1, symbol="ETHUSDT")]))
    dialect.write(b"quote,exchange=okx,symbol=X bid_price=1 1\nother,exchange=no,symbol=no v=1 1\nticker v=1 1")
    server.web.files = 4
    assert dialect.instruments() == {("binance", "BTCUSDT"), ("binance", "ETHUSDT"), ("okx", "X")}


def test_a_part_cannot_be_deleted_but_a_table_can(server: Server3, store: Any, dialect: Dialect) -> None:
    store.write("trades", trades(3))
    with pytest.raises(Unsupported, match="cannot delete rows") as caught:
        store.delete("trades", symbol="BTCUSDT")
    one_sentence(caught.value)
    assert store.delete("trades") == 3
    assert server.catalog.databases["test"].tables == {}
    dialect.drop("trade")
    dialect.delete(Selection.of("trades"))


def test_questions_in_sql_and_influxql_and_not_in_flux(server: Server3, store: Any) -> None:
    store.write("trades", trades(3))
    assert store.query("SELECT count(*) AS n FROM trade").item() == 3
    assert store.query("SELECT price FROM trade ORDER BY time", pandas=True)["price"].to_list() == [100.0, 101.0, 102.0]
    server.recorded["test", "SELECT price FROM trade"] = store.query("SELECT time, price FROM trade").to_arrow()
    assert store.query("SELECT price FROM trade", language="influxql").columns == ["time", "price"]
    with pytest.raises(UsageError, match="answers SQL and InfluxQL, not flux") as caught:
        store.query('from(bucket: "test")')
    one_sentence(caught.value)


def test_the_official_client_is_connected_alike(store: Any) -> None:
    store.write("trades", trades(3))
    with closing(store.client()) as official:
        assert official.query("SELECT price FROM trade").num_rows == 3


def test_what_waits_goes_together_in_large_requests(store: Any) -> None:
    assert store.version == 3
    assert (store.batching.rows, store.batching.most) == (500, 100_000)
