"""What the store asks of a major version of InfluxDB: the contract between `store.py` and version1, 2 and 3."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec
import polars as pl

from marketlab.errors import StoreDenied
from marketlab.stores.selection import Selection

__all__ = ["Dialect", "Limits", "OtherKindError"]


class OtherKindError(StoreDenied):
    """Under the names of ours stand points that are not of our types, which some other program wrote."""


class Limits(msgspec.Struct, frozen=True):
    """How large a request may be, how many are under way at once, and how many rows go together under backlog."""

    lines: int
    bytes: int
    parallel: int
    most: int = 5_000


class Dialect(Protocol):
    """One database on one server, asked in the words of its version. Safe to use from several threads.

    Every method raises StoreUnavailable (no answer, too busy, an answer that broke off) and StoreDenied (token, user,
    organisation, database, rights), in one sentence.
    """

    version: int
    limits: Limits

    def exists(self) -> bool:
        """Whether the database or bucket is there."""
        ...

    def create(self) -> None:
        """Make the database or bucket where it is missing."""
        ...

    def write(self, body: bytes) -> None:
        """Store lines of line protocol with times in nanoseconds; returns once they are durable.

        Raises:
            WriteRejected: `rows` are the numbers of the refused lines in the body, from 0, where nothing of it was stored;
                without them, some of it may be.
        """
        ...

    def measurements(self) -> set[str]:
        """The names of all measurements of the database; none where there is no database."""
        ...

    def instruments(self) -> set[tuple[str, str]]:
        """Each exchange and symbol that any measurement of ours holds."""
        ...

    def rows(self, wanted: Selection, columns: Sequence[str], symbols: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        """The points of a selection in the order of time, piece by piece, in bounded memory.

        `symbols`, if any, are the only ones that are wanted of a selection that names none.

        Each piece holds `time` (Int64, nanoseconds) and those of `columns` (tags and fields by name) that are stored:
        text, Int64, Float64, Boolean. What is not stored anywhere may be absent. Nothing comes where there is no such
        measurement. Closed and open klines both come.

        Raises:
            OtherKindError: some of them are not of our types.
        """
        ...

    def delete(self, going: Selection) -> None:
        """Remove the points of a selection.

        Raises:
            Unsupported: this version cannot delete a part.
        """
        ...

    def drop(self, measurement: str) -> None:
        """Remove a measurement, if it is there."""
        ...

    def query(self, text: str, language: str) -> pl.DataFrame:
        """What the server answers to a question in "influxql", "flux" or "sql"; as `Store.query`."""
        ...

    def client(self) -> Any:
        """The official client of this version, connected to the same place as the same user; see `InfluxStore.client`."""
        ...

    def close(self) -> None:
        """Let go of connections; twice is once."""
        ...
