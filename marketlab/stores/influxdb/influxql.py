"""InfluxQL over `/query`, which 1.x and 2.x both speak and which is the quickest way to read much out of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from urllib.parse import urlencode

import polars as pl

from marketlab.errors import MarketlabError, StoreUnavailable
from marketlab.stores.influxdb import layout
from marketlab.stores.influxdb.answers import (
    SENTINEL,
    Answer,
    UnfinishedError,
    decoded,
    table_of,
    tables_of_csv,
)
from marketlab.stores.influxdb.client import Client
from marketlab.stores.influxdb.dialect import OtherKindError
from marketlab.stores.selection import Selection, micros

__all__ = ["InfluxQL", "conditions", "literal", "nanoseconds", "quoted"]

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_FARTHEST = 2**63 - 2
_STOPPED = re.compile(
    r"query interrupted|time(d )?out|not executed|limit exceed|engine is closed|shutting down|\[panic"
)


def quoted(name: str) -> str:
    """A name as InfluxQL writes it."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def literal(text: str) -> str:
    """A text as InfluxQL writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def conditions(wanted: Selection, symbols: Sequence[str] = ()) -> str:
    """The WHERE of a selection, of these symbols alone if there are any, with its leading space; "" where it selects all."""
    parts = [f"{quoted(tag)} = {literal(value)}" for tag, value in _equal(wanted).items()]
    if symbols:
        parts.append(f"({' OR '.join(f'symbol = {literal(symbol)}' for symbol in symbols)})")
    for sign, moment in ((">=", wanted.start), ("<", wanted.end)):
        if moment is not None:
            parts.append(f"time {sign} {nanoseconds(moment)}")
    return f" WHERE {' AND '.join(parts)}" if parts else ""


def nanoseconds(moment: datetime) -> int:
    """A time in nanoseconds since 1970 UTC; the first or last that a server knows where it is beyond."""
    return min(max((micros(moment) or 0) * 1_000, -_FARTHEST), _FARTHEST)


def _equal(wanted: Selection) -> dict[str, str]:
    asked = {"exchange": wanted.exchange, "symbol": wanted.symbol, "interval": wanted.interval}
    return {tag: value for tag, value in asked.items() if value is not None}


class InfluxQL:
    """Asks one database. `rp` is never named: the database's default policy is where its points are."""

    def __init__(self, client: Client, params: Mapping[str, str] | None = None) -> None:
        self._client = client
        self._params = {"db": client.address.database, **(params or {})}

    def ask(self, *statements: str) -> Answer:
        """The whole answer to statements.

        Raises:
            UsageError: the server does not understand one, or cannot do what it says.
            StoreDenied: there is no such database, or who asks may not do this.
            StoreUnavailable: no answer, or none in full.
        """
        client, text = self._client, "; ".join(statements)
        answer = client.send(
            "POST",
            "/query",
            params={**self._params, "epoch": "ns"},
            content=urlencode({"q": text}).encode(),
            headers={"Accept": "application/x-msgpack", **_FORM},
            refused=self._complaint,
        )
        with client.reading():
            found = decoded(answer.content, answer.headers.get("content-type", ""))
        if found.complaint:
            raise self._complaint(found.complaint)
        return found

    def query(self, text: str) -> pl.DataFrame:
        """The answer as a table; otherwise as `ask`."""
        found = self.ask(text)
        with self._client.reading():
            return table_of(found)

    def rows(self, wanted: Selection, columns: Sequence[str], symbols: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        """The points of a selection in the order of time. See `Dialect.rows`."""
        name = wanted.table.name
        known = _equal(wanted)
        # What the selection says already need not be sent for every row.
        asked = [column for column in layout.stored(name, columns) if column not in known]
        kinds: dict[str, pl.DataType] = {"time": pl.Int64(), **layout.fields(name)}
        source = quoted(layout.measurement(name, self._client.address.prefix))
        text = f"SELECT {', '.join(map(quoted, asked))} FROM {source}{conditions(wanted, symbols)}"
        given = [pl.lit(value).alias(tag) for tag, value in known.items() if tag in columns]
        for table in self._tables(text, kinds):
            yield table.with_columns(given) if given else table

    def _tables(self, text: str, kinds: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        client = self._client
        params = {**self._params, "epoch": "ns", "chunked": "true"}
        body = urlencode({"q": f"{text}; {SENTINEL}"}).encode()
        headers = {"Accept": "application/csv", **_FORM}
        with client.stream(
            "POST", "/query", params=params, content=body, headers=headers, refused=self._complaint
        ) as pieces:
            try:
                yield from tables_of_csv(pieces, kinds)
            except UnfinishedError:
                pass
            except pl.exceptions.PolarsError as error:
                raise OtherKindError(
                    f"{client.name} holds points of another kind under the names of ours ({str(error).splitlines()[0]}); "
                    "use another database or prefix."
                ) from None
            else:
                return
        # In CSV the server does not say what went wrong; in MessagePack it does, and a single row is enough to hear it.
        self.ask(f"{text} LIMIT 1")
        raise StoreUnavailable(f"{client.name} stopped in the middle of its answer; nothing of it is given, try again.")

    def names(self, statement: str) -> list[str]:
        """The last column of a SHOW statement."""
        return [
            str(row[-1]) for result in self.ask(statement).results for series in result.series for row in series.values
        ]

    def instruments(self) -> set[tuple[str, str]]:
        """See `Dialect.instruments`."""
        prefix = self._client.address.prefix
        ours = ", ".join(quoted(layout.measurement(name, prefix)) for name in layout.MEASUREMENTS)
        exchanges = set(self.names(f"SHOW TAG VALUES FROM {ours} WITH KEY = exchange"))
        return {
            (exchange, symbol)
            for exchange in exchanges
            for symbol in self.names(
                f"SHOW TAG VALUES FROM {ours} WITH KEY = symbol WHERE exchange = {literal(exchange)}"
            )
        }

    def _complaint(self, words: str) -> MarketlabError:
        client = self._client
        denied = client.denied(words)
        if denied is not None:
            return denied
        if _STOPPED.search(words):
            return StoreUnavailable(f"{client.name} did not answer to the end ({words}); try again.")
        return client.misunderstood(words)
