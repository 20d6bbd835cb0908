"""The test server held against a real InfluxDB 3 Core: it is asked what that one was asked, and answers as that one did."""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import flight

from .recorded3 import Exchange, exchanges, recording
from .server3.server import Server3

NOT_SPOKEN = {
    "influxql_": "InfluxQL over HTTP",
    "v1_": "InfluxQL over HTTP",
    "auth_v1_": "InfluxQL over HTTP",
    "limit_v1_": "InfluxQL over HTTP",
    "limit_influxql_": "InfluxQL over HTTP",
    "metrics": "metrics",
    "options_preflight": "preflights of browsers",
    "token_endpoint_noauth": "making tokens",
    "auth_create_admin_token": "making tokens",
    "sql_system_queries": "tables about the server itself",
    "limit_parquet_files": "tables about the server itself",
    "restart_parquet_files": "tables about the server itself",
    "sql_explain": "plans",
    "sql_types": "the clock, and intervals as CSV",
    "sql_accept_text_plain": "pictures of tables",
    "sql_get_pretty": "pictures of tables",
    "sql_post_pretty": "pictures of tables",
    "sql_empty_pretty": "pictures of tables",
    "db_list_show_deleted": "deleted databases",
    "nosync_read_immediately": "writes that are not waited for",
}
SPOKEN = ("sql_types_json", "sql_types2")
TOKEN = "secret"


@pytest.fixture(scope="module")
def recorded(absent: Callable[[str, str], NoReturn]) -> Path:
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "influxdb3"
    if not folder.is_dir():
        absent("tapes", "../shared/data/influxdb3 is not there")
    return folder


@pytest.fixture(scope="module")
def replayed(recorded: Path) -> Iterator[tuple[dict[str, Server3], list[str]]]:
    """The servers after all that was asked of the real ones, and what they answered differently."""
    servers: dict[str, Server3] = {}
    faults = []
    client = httpx.Client()
    for exchange in exchanges(recorded):
        if exchange.server not in servers:
            guarded = exchange.name.startswith("auth_")
            servers[exchange.server] = Server3(token=TOKEN if guarded else None).start()
        if exchange.is_whole and is_spoken(exchange.name):
            server = servers[exchange.server]
            if exchange.name == "restart_old_data_count":
                server.web.files = 2_000
            fault = difference(exchange, *asked_again(client, exchange, server))
            if fault:
                faults.append(f"{exchange.name}: {fault}")
    client.close()
    yield servers, faults
    for server in servers.values():
        server.stop()


def is_spoken(name: str) -> bool:
    return name.startswith(SPOKEN) or not name.startswith(tuple(NOT_SPOKEN))


def asked_again(client: httpx.Client, exchange: Exchange, server: Server3) -> tuple[httpx.Response | None, bytes]:
    left_out = ("host", "content-length", "connection")
    token = "wrong" if "_bad" in exchange.name else TOKEN
    headers = {name: value for name, value in exchange.headers.items() if name.lower() not in left_out}
    headers = {name: value.replace("***", token) for name, value in headers.items()}
    url = f"http://{server.host}{exchange.path.replace('p=***', f'p={token}')}"
    body: Any = exchange.body
    if headers.get("Transfer-Encoding") == "chunked":
        # Recorded as it was on the wire, with the sizes of its pieces.
        body = iter([exchange.body.split(b"\r\n")[1]])
    try:
        answer = client.request(exchange.method, url, headers=headers, content=body)
    except httpx.RemoteProtocolError:
        return None, b""
    return answer, answer.content


def difference(exchange: Exchange, answer: httpx.Response | None, body: bytes) -> str | None:
    if exchange.broke_off or answer is None:
        return None if exchange.broke_off and answer is None else "one answer broke off, the other did not"
    if answer.status_code != exchange.status:
        return f"{answer.status_code} instead of {exchange.status}: {body[:200]!r}"
    if answer.headers.get("content-type") != exchange.answer_headers.get("content-type"):
        return f"content type {answer.headers.get('content-type')}"
    ordered = "order+by" in exchange.path or exchange.method == "POST"
    told, wanted = meaning(body, ordered=ordered), meaning(exchange.answer, ordered=ordered)
    return None if told == wanted else f"{told!r} instead of {wanted!r}"


def meaning(body: bytes, *, ordered: bool) -> Any:
    if body.startswith(b"PAR1"):
        return pq.read_table(io.BytesIO(body)).to_pylist()
    if not body.startswith((b"[", b"{")):
        return body
    try:
        found = json.loads(body)
    except json.JSONDecodeError:
        return body
    if isinstance(found, dict):
        return {key: value for key, value in found.items() if key != "process_id"}
    # Ours are what the real one has, and nothing about the server itself.
    rows = [row for row in found if row.get("table_schema") not in ("system", "information_schema")]
    return rows if ordered else sorted(rows, key=json.dumps)


def test_every_exchange_is_answered_as_the_real_server_did(replayed: tuple[dict[str, Server3], list[str]]) -> None:
    _, faults = replayed
    assert faults == []


def test_what_is_not_spoken_is_really_recorded(recorded: Path) -> None:
    names = {exchange.name for exchange in exchanges(recorded)}
    assert all(any(name.startswith(start) for name in names) for start in (*NOT_SPOKEN, *SPOKEN))
    assert sum(map(is_spoken, names)) > 290


FLIGHT = (
    "agg",
    "sql",
    "sql_created_table",
    "sql_empty",
    "sql_namespace_name",
    "sql_params",
    "sql_star",
    "bad_ticket",
    "runtime_error",
    "sql_syntax_error",
    "sql_unknown_db",
    "sql_unknown_table",
)


@pytest.mark.parametrize("name", FLIGHT)
def test_flight_answers_as_the_real_server_did(
    recorded: Path, replayed: tuple[dict[str, Server3], list[str]], name: str
) -> None:
    server = next(iter(replayed[0].values()))
    against_flight(server, recorded, f"flight_{name}")


@pytest.mark.parametrize("name", ["good_token", "bad_token", "no_token"])
def test_flight_asks_for_the_token(recorded: Path, replayed: tuple[dict[str, Server3], list[str]], name: str) -> None:
    server = list(replayed[0].values())[1]
    token = {"good_token": TOKEN, "bad_token": "wrong"}.get(name)
    against_flight(server, recorded, f"flight_auth_{name}", token)


def test_too_many_files_are_refused_over_flight(recorded: Path, replayed: tuple[dict[str, Server3], list[str]]) -> None:
    server = list(replayed[0].values())[2]
    server.web.files = 432
    against_flight(server, recorded, "limit_flight_exceeded")


def against_flight(server: Server3, recorded: Path, name: str, token: str | None = None) -> None:
    held = recording(recorded, name)
    ticket = json.dumps(held["ticket"]).encode() if isinstance(held["ticket"], dict) else b"garbage"
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    options = flight.FlightCallOptions(headers=headers)
    with flight.connect(f"grpc+tcp://{server.host}") as client:
        if "error" in held:
            with pytest.raises(pa.ArrowException) as caught:
                client.do_get(flight.Ticket(ticket), options).read_all()
            assert type(caught.value).__name__ == held["error"]["type"]
            assert essence(str(caught.value)) == essence(held["error"]["message"])
            return
        table = client.do_get(flight.Ticket(ticket), options).read_all()
    with pa.ipc.open_stream(recorded / f"{name}.arrows") as stream:
        real = stream.read_all()
    assert table.schema.equals(real.schema, check_metadata=True)
    order = [(column, "ascending") for column in real.column_names]
    assert table.sort_by(order).equals(real.sort_by(order))


def essence(message: str) -> str:
    """The server's own words, without what the client's library puts around them."""
    words = message.partition("with message: ")[2] or message
    return words.partition(". gRPC client debug")[0].partition(". Detail: ")[0].partition(": sql parser error")[0]


def test_a_body_above_the_limit_is_refused_packed_or_not(recorded: Path) -> None:
    line = b"bigt,symbol=A v=1 1767225600000000\n"
    body = line * (10_485_760 // len(line) + 1)
    with Server3() as server:
        for name, packed in (
            ("write_v3_too_large", False),
            ("write_v2_too_large", False),
            ("write_v2_gzip_too_large", True),
        ):
            held = recording(recorded, name)
            headers = {"Content-Encoding": "gzip"} if packed else {}
            content = gzip.compress(body, 1) if packed else body
            url = f"http://{server.host}{held['request']['path_and_query']}"
            answer = httpx.post(url, headers=headers, content=content)
            assert (answer.status_code, answer.text) == (413, held["response"]["body"])
        server.catalog.create("cap")
        assert not server.catalog.databases["cap"].tables
