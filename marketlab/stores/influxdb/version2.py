"""InfluxDB 2.x: line protocol to `/api/v2/write`, InfluxQL to read much, Flux for who asks in it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from marketlab.errors import MissingDependency, StoreDenied, UsageError, WriteRejected
from marketlab.stores.influxdb import flux, layout
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.client import Client
from marketlab.stores.influxdb.dialect import Limits
from marketlab.stores.influxdb.influxql import InfluxQL
from marketlab.stores.selection import Selection, micros

__all__ = ["Version2"]

_JSON = {"Content-Type": "application/json"}
_FIRST, _LAST = "1970-01-01T00:00:00Z", "2262-04-11T23:47:16.854775806Z"


class _Organisation(msgspec.Struct):
    id: str
    name: str


class _Organisations(msgspec.Struct):
    orgs: list[_Organisation] = []


class _Bucket(msgspec.Struct):
    org_id: str = msgspec.field(name="orgID")


class _Buckets(msgspec.Struct):
    buckets: list[_Bucket] = []


class Version2:
    """See `marketlab.stores.influxdb.dialect.Dialect`. A database is a bucket; its name works in InfluxQL as it is."""

    version = 2
    limits = Limits(lines=5_000, bytes=8_000_000, parallel=4)

    def __init__(self, address: Address) -> None:
        self._address = address
        token = address.token or address.password
        headers = {"Authorization": f"Token {token}"} if token else {}
        self._client = Client(address, headers, database="bucket")
        self._influxql = InfluxQL(self._client)
        self._org: dict[str, str] = {"org": address.org} if address.org else {}

    def exists(self) -> bool:
        """See `Dialect.exists`."""
        return self._bucket() is not None

    def create(self) -> None:
        """See `Dialect.create`."""
        if self._bucket() is not None:
            return
        made = {"orgID": self._organisation(), "name": self._address.database, "retentionRules": []}
        content = msgspec.json.encode(made)
        try:
            self._client.send("POST", "/api/v2/buckets", content=content, headers=_JSON, refused=self._not_made)
        except StoreDenied:
            # Somebody else may have made it just now.
            if self._bucket() is None:
                raise

    def write(self, body: bytes) -> None:
        """See `Dialect.write`. Of a body with a malformed line nothing is stored; good lines beside conflicts are."""
        params = {**self._where(), "bucket": self._address.database, "precision": "ns"}
        self._client.store("/api/v2/write", params=params, content=body, seconds=30.0, refused=self._rejected)

    def measurements(self) -> set[str]:
        """See `Dialect.measurements`."""
        return set(self._influxql.names("SHOW MEASUREMENTS"))

    def instruments(self) -> set[tuple[str, str]]:
        """See `Dialect.instruments`."""
        return self._influxql.instruments()

    def rows(self, wanted: Selection, columns: Sequence[str], symbols: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        """See `Dialect.rows`."""
        return self._influxql.rows(wanted, columns, symbols)

    def delete(self, going: Selection) -> None:
        """See `Dialect.delete`."""
        asked = {"exchange": going.exchange, "symbol": going.symbol, "interval": going.interval}
        equal = {tag: value for tag, value in asked.items() if value is not None}
        # What is beyond its own times the server takes for something else.
        start = _FIRST if going.start is None or (micros(going.start) or 0) < layout.OLDEST else _text(going.start)
        # The server's range has both of its ends in it.
        is_open = going.end is None or (micros(going.end) or 0) > layout.YOUNGEST
        end = _LAST if going.end is None or is_open else _text(going.end - timedelta(microseconds=1), "999Z")
        self._delete(layout.measurement(going.table.name, self._address.prefix), equal, start, end)

    def drop(self, measurement: str) -> None:
        """See `Dialect.drop`."""
        self._delete(measurement, {}, _FIRST, _LAST)

    def query(self, text: str, language: str) -> pl.DataFrame:
        """See `Dialect.query`."""
        if language == "influxql":
            return self._influxql.query(text)
        if language != "flux":
            raise UsageError(f"{self._client.name} is a 2.x server and answers Flux and InfluxQL, not {language}.")
        asked = {"query": text, "type": "flux", "dialect": flux.DIALECT}
        answer = self._client.send(
            "POST",
            "/api/v2/query",
            params=self._where(),
            content=msgspec.json.encode(asked),
            headers={"Accept": "application/csv", **_JSON},
        )
        try:
            with self._client.reading():
                return flux.table_of(answer.content, answer.headers.get("content-type", ""))
        except flux.BrokenOffError as error:
            raise self._client.misunderstood(str(error)) from None

    def client(self) -> Any:
        """See `Dialect.client`."""
        try:
            from influxdb_client.client.influxdb_client import InfluxDBClient
        except ModuleNotFoundError as error:
            raise MissingDependency("influxdb-client", "influxdb", "The official client of InfluxDB 2") from error
        token = self._address.token or self._address.password
        connect: Any = InfluxDBClient  # its types forbid what it takes
        return connect(self._address.origin, token, org=self._address.org or None)

    def close(self) -> None:
        """See `Dialect.close`."""
        self._client.close()

    def _where(self) -> dict[str, str]:
        """The organisation, which writes and questions have to name; the bucket knows it where the address does not."""
        if not self._org:
            bucket = self._bucket()
            if bucket is None:
                raise self._client.denied("bucket not found") or StoreDenied(self._client.name)
            self._org = {"orgID": bucket.org_id}
        return self._org

    def _bucket(self) -> _Bucket | None:
        params = {"name": self._address.database, **({"org": self._address.org} if self._address.org else {})}
        try:
            answer = self._client.send("GET", "/api/v2/buckets", params=params)
        except StoreDenied as error:
            if "has no bucket" in str(error):
                return None
            raise
        with self._client.reading():
            found = msgspec.json.decode(answer.content, type=_Buckets).buckets
        return found[0] if found else None

    def _organisation(self) -> str:
        named = self._address.org
        answer = self._client.send("GET", "/api/v2/orgs", params={"org": named} if named else None)
        with self._client.reading():
            found = msgspec.json.decode(answer.content, type=_Organisations).orgs
        if len(found) == 1:
            return found[0].id
        known = ", ".join(organisation.name for organisation in found) or "none that the token may see"
        raise StoreDenied(
            f"{self._client.name} needs to know whose bucket to make; name the organisation in org= or INFLUXDB_ORG "
            f"(there are: {known})."
        )

    def _delete(self, measurement: str, equal: dict[str, str], start: str, end: str) -> None:
        terms = [f"{tag}={_quoted(value)}" for tag, value in {"_measurement": measurement, **equal}.items()]
        going: dict[str, Any] = {"start": start, "stop": end, "predicate": " AND ".join(terms)}
        self._client.send(
            "POST",
            "/api/v2/delete",
            params={**self._where(), "bucket": self._address.database},
            content=msgspec.json.encode(going),
            headers=_JSON,
        )

    def _rejected(self, words: str) -> WriteRejected:
        return WriteRejected(f"{self._client.name} refused rows: {words}.")

    def _not_made(self, words: str) -> StoreDenied:
        return StoreDenied(f"{self._client.name} made no bucket {self._address.database!r}: {words}.")


def _text(moment: datetime, end: str = "000Z") -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}{end}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
