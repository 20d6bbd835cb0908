"""InfluxDB 3.x: line protocol to `/api/v3/write_lp`, SQL over Arrow Flight for all that is read.

Writes wait until the server has them in its log, which takes up to a second each; so they are large, and several at once.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from marketlab.errors import StoreDenied, StoreUnavailable, Unsupported, UsageError, WriteRejected
from marketlab.stores.influxdb import layout
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.client import Client
from marketlab.stores.influxdb.dialect import Limits, OtherKindError
from marketlab.stores.influxdb.flight import Flight, TooMuchError
from marketlab.stores.influxdb.windows import Windows
from marketlab.stores.selection import Selection, micros

__all__ = ["Version3"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_JSON = {"Content-Type": "application/json"}
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_LINE = re.compile(r"line (?P<number>\d+): (?P<why>.*)", re.DOTALL)
_CONFLICT = re.compile(r"invalid column type for column '(?P<column>.*?)', expected")


class Version3:
    """See `marketlab.stores.influxdb.dialect.Dialect`."""

    version = 3
    # 10 MiB is the server's limit, packed and unpacked. 200,000 rows: 39 s in small requests one by one, 4 s like this.
    limits = Limits(lines=50_000, bytes=9_000_000, parallel=8, most=100_000)

    def __init__(self, address: Address) -> None:
        self._address = address
        self._token = token = address.token or address.password
        self._client = Client(address, {"Authorization": f"Bearer {token}"} if token else {})
        self._flight = Flight(address, self._client, token)
        self._is_there = False

    def exists(self) -> bool:
        """See `Dialect.exists`."""
        try:
            self._flight.table("SELECT 1")
        except StoreDenied as error:
            if "has no database" in str(error):
                return False
            raise
        return True

    def create(self) -> None:
        """See `Dialect.create`."""
        if not self.exists():
            made = msgspec.json.encode({"db": self._address.database})
            path = "/api/v3/configure/database"
            self._client.send("POST", path, content=made, headers=_JSON, refused=self._not_made)

    def write(self, body: bytes) -> None:
        """See `Dialect.write`. Of a body with a refused line nothing is stored."""
        # The server makes a database that is not there without a word, so a misspelt name would get the data.
        if not self._is_there:
            self._is_there = self.exists()
            if not self._is_there:
                raise self._client.denied("database not found") or StoreDenied(self._client.name)
        params = {"db": self._address.database, "precision": "nanosecond", "accept_partial": "false"}
        self._client.store(
            "/api/v3/write_lp",
            params=params,
            content=body,
            seconds=60.0,
            refused=lambda words: _rejected(self._client.name, words, body),
        )

    def measurements(self) -> set[str]:
        """See `Dialect.measurements`."""
        text = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'iox'"
        return set(self._flight.table(text).get_column("table_name"))

    def instruments(self) -> set[tuple[str, str]]:
        """See `Dialect.instruments`."""
        ours = {layout.measurement(name, self._address.prefix) for name in layout.MEASUREMENTS}
        found: set[tuple[str, str]] = set()
        for name in ours & self.measurements():
            if not {"exchange", "symbol"} <= self._columns(name):
                # Somebody else's.
                continue
            head = f"SELECT DISTINCT exchange, symbol FROM {_quoted(name)}"
            for table in self._in_windows(Windows(None, None), head):
                found.update(table.iter_rows())
        return found

    def rows(self, wanted: Selection, columns: Sequence[str], symbols: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        """See `Dialect.rows`."""
        name = wanted.table.name
        source = layout.measurement(name, self._address.prefix)
        stored = self._columns(source)
        asked = {"exchange": wanted.exchange, "symbol": wanted.symbol, "interval": wanted.interval}
        known = {tag: value for tag, value in asked.items() if value is not None}
        if not {"symbol", *known} <= stored:
            # There is no such table, or it is somebody else's.
            return
        # What the selection says already need not be sent for every row.
        sent = [column for column in columns if column in stored and column not in known and column != "time"]
        kinds = {"time": pl.Int64(), **{field: kind for field, kind in layout.fields(name).items() if field in sent}}
        equal = [f"{_quoted(tag)} = {_literal(value)}" for tag, value in known.items()]
        if symbols:
            equal.append(f"symbol IN ({', '.join(map(_literal, symbols))})")
        given = [pl.lit(value).alias(tag) for tag, value in known.items() if tag in columns]
        head = f"SELECT {', '.join(map(_quoted, ['time', *sent]))} FROM {_quoted(source)}"
        windows = Windows(micros(wanted.start), micros(wanted.end))
        for table in self._in_windows(windows, head, equal, " ORDER BY time"):
            if table.height:
                yield self._typed(table, kinds).with_columns(given)

    def delete(self, going: Selection) -> None:
        """See `Dialect.delete`. Only a whole table can go."""
        if (going.exchange, going.symbol, going.interval, going.start, going.end) != (None,) * 5:
            raise Unsupported(
                f"{self._client.name} is a 3.x server and cannot delete rows; delete the whole table, or keep its data."
            )
        self.drop(layout.measurement(going.table.name, self._address.prefix))

    def drop(self, measurement: str) -> None:
        """See `Dialect.drop`."""
        if measurement in self.measurements():
            params = {"db": self._address.database, "table": measurement, "hard_delete_at": "now"}
            self._client.send("DELETE", "/api/v3/configure/table", params=params)

    def query(self, text: str, language: str) -> pl.DataFrame:
        """See `Dialect.query`."""
        if language not in ("sql", "influxql"):
            raise UsageError(f"{self._client.name} is a 3.x server and answers SQL and InfluxQL, not {language}.")
        return self._flight.table(text, language)

    def client(self) -> Any:
        """See `Dialect.client`."""
        return Flight(self._address, self._client, self._token).official

    def close(self) -> None:
        """See `Dialect.close`."""
        self._client.close()
        self._flight.close()

    def _columns(self, measurement: str) -> set[str]:
        text = f"SELECT column_name FROM information_schema.columns WHERE table_name = {_literal(measurement)}"
        return set(self._flight.table(f"{text} AND table_schema = 'iox'").get_column("column_name"))

    def _in_windows(
        self, windows: Windows, head: str, equal: Sequence[str] = (), tail: str = ""
    ) -> Iterator[pl.DataFrame]:
        while (bounds := windows.bounds) is not None:
            rows = 0
            try:
                for table in self._flight.tables(f"{head}{_where(bounds, equal)}{tail}"):
                    rows += table.height
                    yield table
            except TooMuchError:
                if not windows.halve():
                    raise StoreUnavailable(
                        f"{self._client.name} would open too many files even for one second; raise its --query-file-limit."
                    ) from None
            else:
                windows.advance(rows)

    def _typed(self, table: pl.DataFrame, kinds: dict[str, pl.DataType]) -> pl.DataFrame:
        for name, kind in kinds.items():
            if name != "time" and table.schema[name] != kind:
                raise OtherKindError(
                    f"{self._client.name} holds {name} as {table.schema[name]} and not as {kind} under the name of our table; "
                    "use another database or prefix."
                )
        return table.with_columns(pl.col("time").cast(pl.Int64))

    def _not_made(self, words: str) -> StoreDenied:
        return StoreDenied(f"{self._client.name} made no database {self._address.database!r}: {words}.")


def _rejected(name: str, words: str, body: bytes) -> WriteRejected:
    found = _LINE.fullmatch(words)
    if found is None:
        return WriteRejected(f"{name} refused rows: {words}.")
    why, number = found["why"], int(found["number"])
    conflict = _CONFLICT.search(why)
    rows = _with_column(body, conflict["column"]) if conflict else []
    # The server names the first line alone; but one whose column has another type is refused with all that have it.
    return WriteRejected(f"{name} refused rows: {why}.", rows=rows or [number - 1])


def _with_column(body: bytes, column: str) -> list[int]:
    key = re.compile(rb"[ ,]%b=" % re.escape(column.encode()))
    plain = _STRING.sub(b'""', body)
    return [number for number, line in enumerate(plain.splitlines()) if key.search(line)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _where(bounds: tuple[int | None, int | None], equal: Sequence[str]) -> str:
    parts = list(equal)
    for sign, moment in zip((">=", "<"), bounds, strict=True):
        if moment is not None:
            parts.append(f"time {sign} '{_EPOCH + timedelta(microseconds=moment):%Y-%m-%dT%H:%M:%S.%fZ}'")
    return f" WHERE {' AND '.join(parts)}" if parts else ""
