"""The same bars on every engine that the analysis functions promise."""

from collections.abc import Callable
from typing import Any, TypeAlias

import polars as pl
import pytest

Give: TypeAlias = Callable[[pl.DataFrame], Any]


class Engine:
    """Turns a polars table into an engine's own and an answer back, checking that its kind went out as it came in."""

    def __init__(self, name: str, give: Give, back: Callable[[Any], pl.DataFrame]) -> None:
        self.name = name
        self.give = give
        self._back = back
        self.ordered = name in ("polars", "pandas")

    def run(self, function: Callable[..., Any], table: pl.DataFrame, *args: Any, **options: Any) -> pl.DataFrame:
        """What a function makes of a table on this engine, as a polars table."""
        given = self.give(table)
        made = function(given, *args, **options)
        assert type(made) is type(given)
        return self._back(made)


def polars_engine() -> Engine:
    return Engine("polars", lambda table: table, lambda made: made)


def lazy_engine() -> Engine:
    return Engine("lazy", lambda table: table.lazy(), lambda made: made.collect())


def pandas_engine() -> Engine:
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    return Engine("pandas", lambda table: table.to_pandas(), pl.from_pandas)


def duckdb_engine() -> Engine:
    connection = pytest.importorskip("duckdb").connect()
    connection.execute("set TimeZone = 'UTC'")
    given: list[Any] = []

    def give(table: pl.DataFrame) -> Any:
        given.append(table.to_arrow())
        return connection.from_arrow(given[-1])

    return Engine("duckdb", give, lambda made: made.pl())


@pytest.fixture(scope="session")
def in_memory() -> Engine:
    """Polars, eager."""
    return polars_engine()


@pytest.fixture(params=[polars_engine, lazy_engine, pandas_engine, duckdb_engine], ids=lambda make: make.__name__)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    made: Engine = request.param()
    return made
