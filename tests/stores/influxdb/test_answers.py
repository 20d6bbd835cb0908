"""InfluxQL's answers: the same table however the bytes arrive, and never a part of one."""

import csv
import io
from itertools import pairwise
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlab.errors import UsageError
from marketlab.stores.influxdb import answers
from marketlab.stores.influxdb.answers import Answer, Result, Series, UnfinishedError, decoded, table_of, tables_of_csv

KINDS = {"time": pl.Int64(), "price": pl.Float64(), "count": pl.Int64(), "text": pl.String(), "closed": pl.Boolean()}
SENTINEL = 'name,tags,name\ndatabases,,lab\ndatabases,,"odd\n\nname"\n'
TEXT = st.text(st.sampled_from('ab",\n \\é'), min_size=1, max_size=8)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 2**62),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-(2**63), 2**63 - 1),
        TEXT,
        st.booleans(),
    ),
    max_size=12,
)


def body(rows: list[tuple[Any, ...]], sentinel: str = SENTINEL) -> bytes:
    """As the server writes it: no header where there is no row, a blank line between two statements."""
    text = io.StringIO(newline="")
    if rows:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "tags", *KINDS])
        writer.writerows(["trade", "", *row[:4], str(row[4]).lower()] for row in rows)
        text.write("\n" if sentinel else "")
    return (text.getvalue() + sentinel).encode()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.fixture(autouse=True, params=[1, 40, 4_000_000], scope="module")
def _block(request: pytest.FixtureRequest) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_BLOCK", request.param)
        yield


@given(ROWS, st.lists(st.integers(0, 10_000), max_size=8))
def test_the_rows_are_the_same_wherever_the_bytes_are_cut(rows: list[tuple[Any, ...]], places: list[int]) -> None:
    found = list(tables_of_csv(cut(body(rows), places), KINDS))
    whole = pl.concat([pl.DataFrame(schema=KINDS), *found])
    assert whole.rows() == rows


@given(ROWS, st.integers(0, 10_000))
def test_an_answer_without_its_end_is_never_taken_for_whole(rows: list[tuple[Any, ...]], place: int) -> None:
    data = body(rows)
    end = data.rindex(b"name,tags,name\ndatabases,")
    with pytest.raises((UnfinishedError, pl.exceptions.PolarsError)):
        list(tables_of_csv([data[: place % (end + 20)]], KINDS))
    with pytest.raises(UnfinishedError):
        list(tables_of_csv([body(rows, "")], KINDS))


def test_missing_values_are_null() -> None:
    data = b"name,tags,time,price,count,text,closed\ntrade,,1,,,,\n\n" + SENTINEL.encode()
    (found,) = tables_of_csv([data], KINDS)
    assert found.rows() == [(1, None, None, None, None)]


def test_types_are_those_of_the_answer() -> None:
    series = Series(
        ["time", "f", "i", "s", "b", "none"], "m", {"symbol": "A"}, [[1_000, 42_000.0, 2**60, "x", True, None]]
    )
    packed = msgspec.msgpack.encode({"results": [{"statement_id": 0, "series": [msgspec.to_builtins(series)]}]})
    found = table_of(decoded(packed, "application/x-msgpack"))
    assert found.schema == {
        "symbol": pl.String, "time": pl.Datetime("ns", "UTC"), "f": pl.Float64, "i": pl.Int64, "s": pl.String,
        "b": pl.Boolean, "none": pl.Null,
    }  # fmt: skip
    assert found.get_column("time").cast(pl.Int64).to_list() == [1_000]


def test_groups_and_measurements_are_columns() -> None:
    first = Series(["time", "mean"], "trade", {"symbol": "A"}, [[1, 1.0]])
    second = Series(["time", "mean"], "quote", {"symbol": "B"}, [[2, None], [3, 2.5]])
    found = table_of(Answer(results=[Result(series=[first, second])]))
    assert found.columns == ["name", "symbol", "time", "mean"]
    assert found.select("name", "symbol", "mean").rows() == [
        ("trade", "A", 1.0),
        ("quote", "B", None),
        ("quote", "B", 2.5),
    ]
    assert table_of(Answer(results=[Result()])).is_empty()


def test_rows_that_do_not_fit_one_table_are_told() -> None:
    one, two = Series(["v"], "a", {}, [["x"]]), Series(["v"], "b", {}, [[[1]]])
    with pytest.raises(UsageError, match="one statement"):
        table_of(Answer(results=[Result(series=[one]), Result(series=[two])]))


def test_every_way_of_saying_that_something_went_wrong_is_heard() -> None:
    series = Series(["v"], "m", {}, [[1.0]], partial=True)
    assert Answer(error="no").complaint == "no"
    assert Answer(results=[Result(), Result(error="late")]).complaint == "late"
    assert "max-row-limit" in Answer(results=[Result(series=[series])]).complaint
    assert "max-row-limit" in Answer(results=[Result(partial=True)]).complaint
    assert Answer(results=[Result()]).complaint == ""
