"""InfluxDB 2.x for real, where the environment names one: Flux, exact types, and what is said when a setting is wrong."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit

import polars as pl
import pytest

from marketlab import tables
from marketlab.errors import StoreDenied, UsageError, WriteRejected
from marketlab.stores.influxdb import InfluxStore, connect, from_url
from marketlab.stores.influxdb.address import Address

from .. import places
from ..conftest import Rows
from .far import AROUND, BESIDE

AT = Rows.midnight


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InfluxStore]:
    with places.influxdb2(request, tmp_path) as opened, opened() as found:
        assert isinstance(found, InfluxStore)
        assert found.read("trades").is_empty()
        yield found


def bucket(store: InfluxStore) -> str:
    return urlsplit(store.url).path.strip("/")


def wrong(
    store: InfluxStore, *, token: str | None = None, name: str | None = None, org: str | None = None
) -> InfluxStore:
    """The same place with one setting that is wrong."""
    return from_url(url(store, token=token, name=name, org=org))


def url(store: InfluxStore, *, token: str | None = None, name: str | None = None, org: str | None = None) -> str:
    server = places.influxdb2_server()
    token, org = server.token if token is None else token, server.org if org is None else org
    tls = str(server.tls).lower()
    return f"influxdb://:{quote(token, safe='')}@{server.place}/{name or bucket(store)}?org={quote(org)}&tls={tls}"


def trades(count: int) -> pl.DataFrame:
    return tables.to_table("trades", Rows().trades(range(count)))


def told(asking: Callable[[], object], kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        asking()
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_flux_and_influxql_answer_with_exact_types(store: InfluxStore) -> None:
    assert store.version == 2
    store.write("trades", trades(5))
    text = f"""
        from(bucket: "{bucket(store)}")
          |> range(start: 2024-08-09T00:00:00Z, stop: 2024-08-10T00:00:00Z)
          |> filter(fn: (r) => r._measurement == "trade" and r._field == "price")
    """
    found = store.query(text).sort("_time")
    assert found.get_column("_value").to_list() == [60_000.0] * 5
    nanoseconds = [(AT + number * 1_000) * 1_000 + number for number in range(5)]
    assert found.get_column("_time").cast(pl.Int64).to_list() == nanoseconds
    asked = store.query("SELECT price, received, trade_id FROM trade")
    assert asked.get_column("time").cast(pl.Int64).to_list() == nanoseconds
    assert asked.schema == {
        "time": pl.Datetime("ns", "UTC"),
        "price": pl.Float64,
        "received": pl.Int64,
        "trade_id": pl.String,
    }


def test_what_is_not_understood_is_told(store: InfluxStore) -> None:
    assert "fliter" in told(lambda: store.query(f'from(bucket: "{bucket(store)}") |> fliter()'), UsageError)
    assert "SELEC" in told(lambda: store.query("SELEC price"), UsageError)
    told(lambda: store.query("SELECT 1", language="sql"), UsageError)


def test_a_setting_that_is_wrong_is_told(store: InfluxStore) -> None:
    with wrong(store, token="not-the-token") as other:
        assert "token" in told(lambda: other.read("trades"), StoreDenied)
        assert "token" in told(lambda: other.write("trades", trades(1)), StoreDenied)
    with wrong(store, name="no-such-bucket") as other:
        assert not other.exists
        assert "no bucket 'no-such-bucket'" in told(lambda: other.read("trades"), StoreDenied)
        assert "no bucket 'no-such-bucket'" in told(lambda: other.write("trades", trades(1)), StoreDenied)
    with wrong(store, org="no-such-org") as other:
        assert "no organisation 'no-such-org'" in told(lambda: other.write("trades", trades(1)), StoreDenied)


def test_the_organisation_may_be_left_out(store: InfluxStore) -> None:
    with wrong(store, org="") as other:
        assert other.write("trades", trades(3)) == 3
        assert other.read("trades").height == 3


def test_a_field_of_another_type_is_a_refusal_that_says_so(store: InfluxStore) -> None:
    line = f'trade,exchange=binance,symbol=BTCUSDT price="dear",received=1i {AT}000'
    with closing(connect(Address.of(url(store)))) as server:
        server.write(line.encode())
    assert "field type conflict" in told(lambda: store.write("trades", trades(3)), WriteRejected)


@pytest.mark.parametrize(("start", "end"), AROUND)
def test_times_beyond_what_a_server_knows_are_open_ends(store: InfluxStore, start: str | None, end: str | None) -> None:
    store.write("trades", trades(3))
    assert store.read("trades", start=start, end=end).equals(trades(3))
    assert store.delete("trades", symbol="BTCUSDT", start=start, end=end) == 3
    assert store.read("trades").is_empty()


@pytest.mark.parametrize(("start", "end"), BESIDE)
def test_beyond_what_a_server_knows_there_is_nothing(store: InfluxStore, start: str | None, end: str | None) -> None:
    store.write("trades", trades(3))
    assert store.read("trades", start=start, end=end).is_empty()
    assert store.delete("trades", start=start, end=end) == 0
    assert store.read("trades").height == 3


def test_the_official_client_is_connected_alike(store: InfluxStore) -> None:
    with store.client() as official:
        assert [found.name for found in official.buckets_api().find_buckets(name=bucket(store)).buckets] == [
            bucket(store)
        ]
