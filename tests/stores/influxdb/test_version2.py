"""InfluxDB 2.x by what a real one answered: each recorded status, error and table; and for real where there is one."""

import gzip
import io
import json
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec
import polars as pl
import pytest
import urllib3
from influxdb_client.client.flux_csv_parser import FluxCsvParser, FluxSerializationMode

from marketlab.errors import MarketlabError, StoreDenied, StoreUnavailable, UsageError, WriteRejected
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.answers import SENTINEL, UnfinishedError, decoded, table_of, tables_of_csv
from marketlab.stores.influxdb.client import Client, Complaint
from marketlab.stores.influxdb.flux import DIALECT
from marketlab.stores.influxdb.flux import table_of as table_of_flux
from marketlab.stores.influxdb.probe import version_of
from marketlab.stores.influxdb.version2 import Version2

from .recorded2 import FOLDER, Exchange, exchange, names, serving

NAMES = names() or ["none"]


@pytest.fixture(autouse=True)
def _recordings(absent: Callable[[str, str], NoReturn]) -> None:
    if not FOLDER.is_dir():
        absent("tapes", "../shared/data/influxdb2 is not there")


def of(*starts: str) -> list[str]:
    return [name for name in NAMES if name.startswith(starts)] or ["none"]


def address(host: str, database: str = "marketlab", org: str = "marketlab") -> Address:
    return Address.of(f"influxdb://:secret@{host}/{database}?org={org}")


def require_sentence(error: BaseException) -> None:
    words = str(error)
    assert words.endswith(".")
    assert "\n" not in words
    assert "secret" not in words


def is_ours(asked: Exchange) -> bool:
    """Whether it is a question as we ask it."""
    if (
        asked.method != "POST"
        or not asked.target.startswith("/api/v2/query?org=")
        or not asked.body.startswith(b'{"query":')
    ):
        return False
    try:
        found = json.loads(asked.body)
    except ValueError:
        return False
    return set(found) == {"query", "type", "dialect"} and found["type"] == "flux" and found["dialect"] == DIALECT


# Their client gives up at bytes that are no text.
NO_TEXT = "query_invalid_utf8"
FLUX = [name for name in of("query_") if name not in ("none", NO_TEXT) and is_ours(exchange(name))] or ["none"]


def outcome(asking: Callable[[], Any]) -> Any:
    """What comes of it, an error of ours too."""
    try:
        return asking()
    except MarketlabError as error:
        return error


@pytest.mark.parametrize("name", FLUX)
def test_every_flux_answer_is_the_table_that_influxdbs_own_client_reads(name: str) -> None:
    recorded = exchange(name)
    org = recorded.target.rpartition("=")[2]
    text = json.loads(recorded.body)["query"]
    with serving([recorded]) as host:
        dialect = Version2(address(host, org=org))
        found = outcome(lambda: dialect.query(text, "flux"))
        dialect.close()
    if recorded.status >= 400 or b"error,reference" in unpacked(recorded):
        assert type(found) is (StoreDenied if is_denied(recorded) else UsageError)
        require_sentence(found)
    else:
        assert comparable(found.to_dicts()) == comparable(read_by_influxdb_client(recorded))


def unpacked(recorded: Exchange) -> bytes:
    return gzip.decompress(recorded.answer) if recorded.answer.startswith(b"\x1f\x8b") else recorded.answer


def is_denied(recorded: Exchange) -> bool:
    words = recorded.answer.lower()
    return recorded.status in (401, 403, 404) or (b"organization" in words and b"not found" in words)


def read_by_influxdb_client(recorded: Exchange) -> list[dict[str, Any]]:
    headers = {name.lower(): value for name, value in recorded.answer_headers.items()}
    packed = {"content-encoding": "gzip"} if headers.get("content-encoding") == "gzip" else {}
    response = urllib3.HTTPResponse(io.BytesIO(recorded.answer), headers=packed, preload_content=False)
    parser: Any = FluxCsvParser(response=response, serialization_mode=FluxSerializationMode.stream)
    return [record.values for record in parser.generator()]


def comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what is empty, which looks like what is absent, and without the types in columns' names."""
    return [{key.partition(":")[0]: value for key, value in row.items() if value not in (None, "")} for row in rows]


def test_bytes_that_are_no_text_are_marked_so() -> None:
    assert "\N{REPLACEMENT CHARACTER}" in str(table_of_flux(exchange(NO_TEXT).answer).get_column("t")[0])


@pytest.mark.parametrize("name", of("v1_query_"))
def test_every_influxql_answer_is_a_table_or_an_error(name: str) -> None:
    recorded = exchange(name)
    answer = asked(recorded)
    if recorded.status >= 400:
        assert type(answer) is (StoreDenied if is_denied(recorded) else UsageError)
        require_sentence(answer)
    elif answer.headers["content-type"].startswith("application/csv"):
        # We always ask for the sentinel too; without its answer no answer is believed.
        with pytest.raises(UnfinishedError):
            list(tables_of_csv([answer.content], {}))
    elif "chunked" not in name:
        found = decoded(answer.content, answer.headers["content-type"])
        assert bool(found.complaint) == (b'"error"' in answer.content)
        values = [row for result in found.results for series in result.series for row in series.values]
        assert table_of(found).height == len(values)


def asked(recorded: Exchange, refused: Complaint | None = None) -> Any:
    """The answer to a recorded request, or the error that it means."""
    with serving([recorded]) as host:
        client = Client(address(host), {}, database="bucket")
        sent = {
            name: text
            for name, text in recorded.headers.items()
            if name in ("Accept", "Content-Type", "Content-Encoding")
        }
        found = outcome(
            lambda: client.send(recorded.method, recorded.target, content=recorded.body, headers=sent, refused=refused)
        )
        client.close()
    return found


def followed(name: str) -> list[bytes]:
    body = exchange(name).answer
    return [body, *([b"\n"] if body else []), b"name,tags,name\ndatabases,,marketlab\n"]


@pytest.mark.parametrize(
    ("csv", "json_name"),
    [
        ("v1_query_select_csv_epoch_ms", "v1_query_select_json_epoch_ms"),
        ("v1_query_empty_csv", "v1_query_empty_json"),
    ],
)
def test_csv_and_json_are_the_same_table(csv: str, json_name: str) -> None:
    whole = table_of(decoded(exchange(json_name).answer, "application/json"))
    kinds: dict[str, pl.DataType] = dict.fromkeys(whole.columns, pl.Float64()) | {
        "time": pl.Int64(),
        "name": pl.String(),
    }
    parts = list(tables_of_csv(followed(csv), kinds))
    assert sum(part.height for part in parts) == whole.height
    for part in parts:
        assert part.columns == whole.columns
        if "time" in part.columns:
            part = part.with_columns(pl.col("time").cast(pl.Datetime("ns", "UTC")))
            whole = whole.with_columns(pl.col(pl.Int64).cast(pl.Float64))
        assert part.equals(whole)


def test_the_sentinel_is_what_2x_knows() -> None:
    assert SENTINEL.replace(" ", "+") in exchange("v1_query_show_databases_json").target
    assert b'"name":"databases"' in exchange("v1_query_show_databases_json").answer


WRITES = {
    400: WriteRejected,
    401: StoreDenied,
    403: StoreDenied,
    404: StoreDenied,
    405: StoreDenied,
    422: WriteRejected,
}


@pytest.mark.parametrize("name", of("write_", "v1_write_", "method_not"))
def test_every_answer_to_a_write_is_an_error_of_its_kind(name: str) -> None:
    recorded = exchange(name)
    answer = asked(recorded, WriteRejected)
    if recorded.status == 204:
        assert answer.is_success
    elif b"either orgID or org" in recorded.answer:
        assert type(answer) is StoreDenied
    else:
        assert type(answer) is WRITES.get(recorded.status, StoreUnavailable)
        assert getattr(answer, "rows", ()) == ()


@pytest.mark.parametrize(
    "name", of("bucket", "delete_", "orgs_", "dbrp_", "health", "ping", "me", "ready", "not_found")
)
def test_every_other_answer_is_an_error_of_its_kind(name: str) -> None:
    recorded = exchange(name)
    answer = asked(recorded)
    if recorded.status < 400:
        assert answer.is_success
    elif recorded.status >= 500:
        assert type(answer) is StoreUnavailable
    elif recorded.status in (401, 403, 404):
        assert type(answer) is StoreDenied
        require_sentence(answer)
    else:
        assert type(answer) in (UsageError, StoreDenied)


def test_a_bucket_is_there_or_not() -> None:
    for name, database, org, there in (
        ("buckets_by_name_and_org", "marketlab", "marketlab", True),
        ("buckets_by_name", "marketlab", "", True),
        ("buckets_missing", "missing", "", False),
        ("buckets_missing_with_org", "missing", "marketlab", False),
    ):
        with serving([exchange(name)]) as host:
            dialect = Version2(address(host, database, org))
            assert dialect.exists() is there
            dialect.close()


def test_an_organisation_that_is_not_there_is_told() -> None:
    with serving([exchange("buckets_org_missing")]) as host:
        dialect = Version2(address(host, org="missing"))
        for asking in (dialect.exists, dialect.create):
            found = outcome(asking)
            assert type(found) is StoreDenied
            assert "no organisation 'missing'" in str(found)
            require_sentence(found)
        dialect.close()


def test_a_bucket_is_made_where_it_is_missing() -> None:
    missing = msgspec.structs.replace(
        exchange("buckets_missing_with_org"), target="/api/v2/buckets?org=marketlab&name=capture"
    )
    made = exchange("bucket_create")
    with serving([missing, exchange("orgs_by_name"), made]) as host:
        dialect = Version2(address(host, "capture"))
        dialect.create()
        dialect.close()
    refused = exchange("bucket_create_read_only_token")
    missing = msgspec.structs.replace(missing, target="/api/v2/buckets?org=marketlab&name=capture2")
    with serving([missing, exchange("orgs_by_name"), refused]) as host:
        dialect = Version2(address(host, "capture2"))
        found = outcome(dialect.create)
        dialect.close()
    assert type(found) is StoreDenied
    require_sentence(found)
    conflict = exchange("bucket_create_conflict")
    missing = msgspec.structs.replace(missing, target="/api/v2/buckets?org=marketlab&name=capture")
    with serving([missing, exchange("orgs_by_name"), conflict]) as host:
        dialect = Version2(address(host, "capture"))
        found = outcome(dialect.create)
        dialect.close()
    assert "already exists" in str(found)


def test_the_version_is_found_out() -> None:
    with serving([exchange("ping")]) as host:
        assert version_of(address(host)) == 2
    stranger = msgspec.structs.replace(exchange("ping"), answer_headers={})
    with serving([stranger]) as host:
        found = outcome(lambda: version_of(address(host)))
    assert type(found) is StoreDenied
    assert "does not answer as an InfluxDB" in str(found)
