"""Answers of InfluxDB 3 over Arrow Flight, as polars tables while they come, and what its refusals mean.

Flight is 100 times quicker than anything 2.x has. A stream ends with a status, so one that broke off is always told.
"""

import os
import re
import ssl
from collections.abc import Iterator
from typing import Any

import polars as pl

from marketlab.errors import MarketlabError, MissingDependency, StoreDenied, StoreUnavailable, UsageError
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.client import Client

try:
    import pyarrow as pa
    from influxdb_client_3 import InfluxDBClient3
    from influxdb_client_3.exceptions.exceptions import InfluxDB3ClientQueryError
    from pyarrow import flight
except ModuleNotFoundError as error:
    raise MissingDependency("influxdb3-python", "influxdb", "An InfluxDB 3 server") from error

__all__ = ["Flight", "TooMuchError"]

_PIECE = 65_536
_TOO_MUCH = re.compile(r"would scan \d+ Parquet files|Resources exhausted")
_LAST_ERROR = (
    r"failed to connect to all addresses; last error: \w+: (ipv[46]:\S+: )?(Ssl handshake failed.*routines::)?"
)
_GENERIC = [
    # A server that is gone without a word is noticed; there is no limit on how long a reader takes over its answer.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # How long a connection may take to come about, for all its name.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    # One that was away is looked for every second; otherwise up to two minutes go by.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class TooMuchError(UsageError):
    """The server would have to open more files, or take more memory, than it allows itself for one question."""


class Flight:
    """Asks one database. Safe to use from several threads.

    Args:
        address: of the server and the database.
        client: of the same server, which knows how it is called and what it means by a database that is not there.
        token: who asks; "" for a server that lets everybody in.
    """

    def __init__(self, address: Address, client: Client, token: str) -> None:
        self._client = client
        # What gRPC would write to stderr about a failed handshake is said by our own error.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        proxies = [("grpc.enable_http_proxy", 0)] if address.is_local else []
        options: dict[str, Any] = {"generic_options": [*_GENERIC, *proxies]}
        if address.tls and (trusted := _authorities()):
            options["tls_root_certs"] = trusted
        # It has no types.
        connect: Any = InfluxDBClient3
        # Where nobody is asked who he is, any token does; none at all is no proper header.
        self.official = connect(
            host=address.origin, database=address.database, token=token or "none", flight_client_options=options
        )

    def tables(self, text: str, language: str = "sql") -> Iterator[pl.DataFrame]:
        """The answer in pieces, while it comes; one piece at least, which holds the schema. Times are in UTC.

        Raises:
            TooMuchError: the question reaches too far; nothing was given yet.
            UsageError: the server does not understand it.
            StoreDenied: a wrong token, a database that is not there, no TLS.
            StoreUnavailable: no answer, or none to the end.
        """
        given = 0
        try:
            reader = self.official.query(text, language=language, mode="chunk", timeout=None)
            try:
                for piece in _pieces(reader):
                    yield piece
                    given += piece.height
            finally:
                reader.cancel()
        except InfluxDB3ClientQueryError as error:
            raise self.meaning(error.__context__ or error, given) from None
        except (pa.ArrowException, flight.FlightError, OSError) as error:
            raise self.meaning(error, given) from None

    def table(self, text: str, language: str = "sql") -> pl.DataFrame:
        """The whole answer; otherwise as `tables`."""
        return pl.concat(self.tables(text, language))

    def close(self) -> None:
        """Close the connections; twice is once."""
        self.official.close()

    def meaning(self, error: BaseException, given: int = 0) -> MarketlabError:
        """What went wrong, in one sentence; `given` rows of the answer are out already."""
        name, words = self._client.name, _words(error)
        if given:
            return StoreUnavailable(f"{name} broke off in the middle of its answer ({words}); ask again.")
        if _TOO_MUCH.search(words):
            return TooMuchError(f"{name} would have to open more than it allows for one question; ask for less time.")
        denied = self._client.denied(words)
        if denied is not None:
            return denied
        for kind, pattern, make, sentence in _MEANINGS:
            if isinstance(error, kind) and re.search(pattern, str(error)):
                return make(f"{name} {sentence.format(words)}.")
        return StoreUnavailable(f"{name} did not answer to the end ({words}); ask again.")


_MEANINGS: tuple[tuple[type[BaseException], str, type[MarketlabError], str], ...] = (
    (
        flight.FlightUnavailableError,
        "handshake failed|SSL_ERROR|CERTIFICATE_VERIFY",
        StoreDenied,
        "cannot be trusted or speaks no TLS ({}); mend tls= in the URL, or name the authority's certificate in "
        "SSL_CERT_FILE",
    ),
    (
        flight.FlightUnauthenticatedError,
        "",
        StoreDenied,
        "refuses who asks ({}); mend the token in the URL or in INFLUXDB_TOKEN",
    ),
    (flight.FlightUnauthorizedError, "", StoreDenied, "does not allow this ({}); give the token the right to it"),
    (
        flight.FlightUnavailableError,
        "http1|HTTP/1",
        StoreDenied,
        "speaks no Arrow Flight, so it is no 3.x server; mend version= in the URL or leave it out",
    ),
    (flight.FlightTimedOutError, "", StoreUnavailable, "stopped answering; ask again"),
    (
        flight.FlightUnavailableError,
        "",
        StoreUnavailable,
        "cannot be reached or is gone ({}); see whether it runs and mend host and port",
    ),
    (pa.ArrowNotImplementedError, "", UsageError, "cannot do this: {}"),
    (pa.ArrowInvalid, "", UsageError, "does not understand this: {}"),
)
"""What an error of Flight means, by its kind and the server's words: which error of ours, and its sentence."""


def _words(error: BaseException) -> str:
    """What the server itself says, without what the libraries on both sides put around it."""
    words = str(error)
    words = words.partition("with message: ")[2] or words
    for end in (". gRPC client debug context:", ". Detail: ", "\n"):
        words = words.partition(end)[0]
    for start in (r"Error while logically planning query: ", r"Error while execution Flight SQL stream: ", _LAST_ERROR):
        words = re.sub(f"^{start}", "", words)
    return words.rstrip(".")[:500]


def _pieces(reader: Any) -> Iterator[pl.DataFrame]:
    empty = _plain(pl.DataFrame(pl.from_arrow(reader.schema.empty_table())))
    held: list[Any] = []
    height = 0
    first = True
    for chunk in reader:
        held.append(chunk.data)
        height += chunk.data.num_rows
        if height >= _PIECE:
            yield _table(held)
            held, height, first = [], 0, False
    if height:
        yield _table(held)
    elif first:
        yield empty


def _table(batches: list[Any]) -> pl.DataFrame:
    return _plain(pl.DataFrame(pl.from_arrow(pa.Table.from_batches(batches))))


def _plain(table: pl.DataFrame) -> pl.DataFrame:
    """Times in UTC, which the server leaves unsaid; text as text, where it comes by numbers."""
    naive = [name for name, kind in table.schema.items() if isinstance(kind, pl.Datetime) and kind.time_zone is None]
    return table.with_columns(pl.col(naive).dt.replace_time_zone("UTC"), pl.col(pl.Categorical).cast(pl.String))


def _authorities() -> bytes:
    """The certificates that the rest of the program trusts: the system's, and those of SSL_CERT_FILE."""
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, known)).encode()
