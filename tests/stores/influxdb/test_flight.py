"""Flight's answers and refusals, as recorded from a real 3.x and as the test server gives them."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NoReturn

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import flight

from marketlab.errors import MarketlabError, StoreDenied, StoreUnavailable, UsageError
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.client import Client
from marketlab.stores.influxdb.flight import Flight, TooMuchError

from ...servers import InfluxServer
from .recorded3 import recording
from .server3.points import points
from .server3.server import Server3

SERIES = "SELECT value, value * 2 AS twice FROM generate_series(1, 1000000)"


@pytest.fixture
def server() -> Iterator[Server3]:
    with Server3(token="secret") as running:
        running.catalog.create("test")
        yield running


def asking(server: Server3, database: str = "test", token: str = "secret", *, tls: bool = False) -> Flight:
    host, _, port = server.host.partition(":")
    address = Address(host, int(port), database, tls=tls)
    return Flight(address, Client(address, {}), token)


@pytest.fixture
def recorded(absent: Callable[[str, str], NoReturn]) -> Path:
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "influxdb3"
    if not folder.is_dir():
        absent("tapes", "../shared/data/influxdb3 is not there")
    return folder


def one_sentence(error: MarketlabError) -> str:
    text = str(error)
    assert text.startswith("InfluxDB at 127.0.0.1:")
    assert text.endswith(".")
    assert "\n" not in text
    assert "secret" not in text
    assert "gRPC client debug" not in text
    return text


def test_an_answer_comes_with_exact_types_and_times_in_utc(server: Server3) -> None:
    text = 't,s=A f=0.1,i=9007199254740993i,b=t,x="é" 1767225600000000001\nt,s=B f=2.0 1767225600000000002'
    server.catalog.databases["test"].write(points(text), 1)
    found = asking(server).table("SELECT * FROM t ORDER BY time")
    assert dict(found.schema) == {
        "b": pl.Boolean(),
        "f": pl.Float64(),
        "i": pl.Int64(),
        "s": pl.String(),
        "time": pl.Datetime("ns", "UTC"),
        "x": pl.String(),
    }
    assert found.drop("time").rows() == [(True, 0.1, 9007199254740993, "A", "é"), (None, 2.0, None, "B", None)]
    assert found.get_column("time").cast(pl.Int64).to_list() == [1767225600000000001, 1767225600000000002]


def test_an_empty_answer_has_its_columns(server: Server3) -> None:
    server.catalog.databases["test"].write(points("t,s=A f=0.1 1"), 1)
    found = asking(server).table("SELECT f, time FROM t WHERE s = 'B'")
    assert dict(found.schema) == {"f": pl.Float64(), "time": pl.Datetime("ns", "UTC")}
    assert found.is_empty()


def test_a_long_answer_comes_in_pieces(server: Server3) -> None:
    heights = [table.height for table in asking(server).tables(SERIES)]
    assert sum(heights) == 1_000_000
    assert 10 < len(heights) < 20


def test_an_answer_may_be_left_in_the_middle(server: Server3) -> None:
    asked = asking(server)
    first = list(islice(asked.tables(SERIES), 1))
    assert first[0].height >= 65_536
    assert asked.table("SELECT 1 AS x").item() == 1


def test_an_answer_that_breaks_off_is_an_error(server: Server3) -> None:
    server.breaks_after = 3_000_000
    asked = asking(server)
    with pytest.raises(StoreUnavailable, match="broke off in the middle") as caught:
        asked.table(SERIES)
    one_sentence(caught.value)


def test_a_server_that_stops_while_it_is_read_is_an_error_and_is_found_again(server: Server3) -> None:
    asked = asking(server)
    answer = asked.tables(SERIES)
    assert next(answer).height
    server.stop()
    with pytest.raises(StoreUnavailable) as caught:
        list(answer)
    one_sentence(caught.value)
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        asked.table("SELECT 1")
    one_sentence(caught.value)
    server.start()
    assert again(asked) == 1


def again(asked: Flight) -> int:
    """Asks until it is answered: a lost connection is tried again every second."""
    deadline = monotonic() + 60.0
    while True:
        try:
            return int(asked.table("SELECT 1 AS x").item())
        except StoreUnavailable:
            if monotonic() > deadline:
                raise
            sleep(0.05)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("selec", "an SQL statement"),
        ("SELECT * FROM nope", "nope"),
        ("SELECT CAST('a' || x AS INT) FROM (VALUES ('b')) AS t(x)", "Cannot cast"),
    ],
)
def test_a_question_that_is_not_understood_is_a_usage_error(server: Server3, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        asking(server).table(text)
    one_sentence(caught.value)


def test_a_wrong_token_a_missing_database_and_a_server_without_tls_are_told(server: Server3) -> None:
    with pytest.raises(StoreDenied, match="token") as caught:
        asking(server, token="wrong").table("SELECT 1")
    one_sentence(caught.value)
    with pytest.raises(StoreDenied, match="no database 'nope'") as caught:
        asking(server, "nope").table("SELECT 1")
    one_sentence(caught.value)
    with pytest.raises(StoreDenied, match="TLS") as caught:
        asking(server, tls=True).table("SELECT 1")
    one_sentence(caught.value)


def test_too_many_files_are_told_apart(server: Server3) -> None:
    server.web.files = 2
    server.catalog.databases["test"].write(points("t f=1 0\nt f=1 700000000000\nt f=1 1300000000000"), 1)
    with pytest.raises(TooMuchError) as caught:
        asking(server).table("SELECT max(f) FROM t")
    one_sentence(caught.value)
    assert asking(server).table("SELECT max(f) FROM t WHERE time < '1970-01-01T00:10:00Z'").item() == 1.0


def test_a_server_of_another_version_is_told(influxdb1: InfluxServer) -> None:
    address = Address("127.0.0.1", influxdb1.port, "test")
    with pytest.raises(StoreDenied, match="no Arrow Flight") as caught:
        Flight(address, Client(address, {}), "").table("SELECT 1")
    one_sentence(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("flight_auth_bad_token", StoreDenied, "mend the token"),
        ("flight_auth_no_token", StoreDenied, "mend the token"),
        ("flight_bad_ticket", UsageError, "Invalid ticket"),
        ("flight_runtime_error", UsageError, "Cannot cast string 'n 0'"),
        ("flight_sql_syntax_error", UsageError, "does not understand this: SQL error"),
        ("flight_sql_unknown_db", StoreDenied, "no database 'test'"),
        ("flight_sql_unknown_table", UsageError, "does not understand this: Error during planning"),
        ("limit_flight_exceeded", TooMuchError, "ask for less time"),
    ],
)
def test_recorded_refusals_are_one_sentence_each(
    server: Server3, recorded: Path, name: str, kind: type[MarketlabError], words: str
) -> None:
    told = recording(recorded, name)["error"]
    make = getattr(flight, told["type"], None) or getattr(pa, told["type"])
    error = asking(server).meaning(make(told["message"]))
    assert type(error) is kind
    assert words in one_sentence(error)


@pytest.mark.parametrize("name", ["flight_influxql", "flight_influxql_groupby"])
def test_recorded_answers_to_influxql_are_read(server: Server3, recorded: Path, name: str) -> None:
    held = recording(recorded, name)
    with pa.ipc.open_stream(recorded / f"{name}.arrows") as stream:
        real = stream.read_all()
    text = held["ticket"]["sql_query"]
    server.recorded["test", text] = real
    found = asking(server).table(text, "influxql")
    assert found.columns == [field["name"] for field in held["schema"]]
    assert found.height == held["rows"]
    assert found.get_column("time").dtype == pl.Datetime("ns", "UTC")
    assert found.get_column("price").to_list() == real["price"].to_pylist()


def test_without_its_package_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['influxdb_client_3'] = None\n"
        "from marketlab.errors import MissingDependency\n"
        "from marketlab.stores.open import open_store\n"
        "try: open_store('influxdb://127.0.0.1:1/test?version=3').read('trades')\n"
        "except MissingDependency as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    assert told.stdout == (
        "An InfluxDB 3 server needs the package influxdb3-python: run pip install 'marketlab[influxdb]'.\n"
    )


def test_text_that_comes_by_numbers_is_text(server: Server3) -> None:
    server.recorded["test", "numbered"] = pa.table({"s": pa.array(["a", "b", "a"]).dictionary_encode()})
    assert asking(server).table("numbered", "influxql").get_column("s").to_list() == ["a", "b", "a"]
    assert asking(server).table("numbered", "influxql").schema == {"s": pl.String()}


def test_over_tls_the_authorities_of_the_system_and_of_ssl_cert_file_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: Callable[[str, str], NoReturn]
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        absent("openssl", "openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    asked = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    asked += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *asked], check=True, capture_output=True)
    answer = pa.table({"x": [1]})
    methods = {"do_get": lambda self, context, ticket: flight.RecordBatchStream(answer)}
    serve: Any = type("Served", (flight.FlightServerBase,), methods)
    with serve("grpc+tls://127.0.0.1:0", tls_certificates=[(certificate.read_bytes(), key.read_bytes())]) as served:
        address = Address("127.0.0.1", served.port, "test", tls=True)
        with pytest.raises(StoreDenied, match="SSL_CERT_FILE") as caught:
            Flight(address, Client(address, {}), "").table("SELECT 1")
        one_sentence(caught.value)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert Flight(address, Client(address, {}), "").table("SELECT 1").item() == 1
