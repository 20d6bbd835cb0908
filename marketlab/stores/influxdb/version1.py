"""InfluxDB 1.x: line protocol to `/write`, InfluxQL for all the rest."""

from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import polars as pl

from marketlab.errors import Unsupported, UsageError, WriteRejected
from marketlab.stores.influxdb import layout
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.client import Client
from marketlab.stores.influxdb.dialect import Limits
from marketlab.stores.influxdb.influxql import InfluxQL, conditions, quoted
from marketlab.stores.selection import Selection

__all__ = ["Version1"]


class Version1:
    """See `marketlab.stores.influxdb.dialect.Dialect`."""

    version = 1
    # A body has at most 25 MB by default.
    limits = Limits(lines=5_000, bytes=8_000_000, parallel=4)

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client = Client(address, _who(address))
        self._influxql = InfluxQL(self._client)

    def exists(self) -> bool:
        """See `Dialect.exists`."""
        return self._address.database in self._influxql.names("SHOW DATABASES")

    def create(self) -> None:
        """See `Dialect.create`."""
        # Looked for first, since it takes an administrator to make one.
        if not self.exists():
            self._influxql.ask(f"CREATE DATABASE {quoted(self._address.database)}")

    def write(self, body: bytes) -> None:
        """See `Dialect.write`. Good lines beside refused ones are stored."""
        params = {"db": self._address.database, "precision": "n"}
        self._client.store("/write", params=params, content=body, seconds=30.0, refused=self._rejected)

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
        name = layout.measurement(going.table.name, self._address.prefix)
        self._influxql.ask(f"DELETE FROM {quoted(name)}{conditions(going)}")

    def drop(self, measurement: str) -> None:
        """See `Dialect.drop`."""
        if measurement in self.measurements():
            self._influxql.ask(f"DROP MEASUREMENT {quoted(measurement)}")

    def query(self, text: str, language: str) -> pl.DataFrame:
        """See `Dialect.query`."""
        if language != "influxql":
            raise UsageError(f"{self._client.name} is a 1.x server and answers InfluxQL alone; ask SELECT … FROM ….")
        return self._influxql.query(text)

    def client(self) -> Any:
        """See `Dialect.client`."""
        raise Unsupported(f"{self._client.name} is a 1.x server, which no official client speaks to any more.")

    def close(self) -> None:
        """See `Dialect.close`."""
        self._client.close()

    def _rejected(self, words: str) -> WriteRejected:
        return WriteRejected(f"{self._client.name} refused rows: {words}.")


def _who(address: Address) -> dict[str, str]:
    user, password = address.user, address.password
    if not user and address.token:
        # As 1.8 writes both in one, for clients that know tokens only.
        user, _, password = address.token.partition(":")
    if not user:
        return {}
    request = next(httpx.BasicAuth(user, password).sync_auth_flow(httpx.Request("GET", address.origin)))
    return {"Authorization": request.headers["Authorization"]}
