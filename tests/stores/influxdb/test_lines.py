"""Line protocol: escaped as InfluxDB reads it, typed, and without what it does not take."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlab.stores.influxdb.lines import lines, unwritable

KINDS = {"v": pl.Float64, "n": pl.Int64, "s": pl.String, "b": pl.Boolean}


def made(*rows: dict[str, object], tags: tuple[str, ...] = ("symbol",)) -> list[str]:
    table = pl.DataFrame(rows, schema={**dict.fromkeys(tags, pl.String), **KINDS, "time": pl.Int64})
    return lines("m", tags, table).to_list()


def test_every_type_has_its_form() -> None:
    row = {"symbol": "A", "v": 42_000.0, "n": 2**63 - 1, "s": "x", "b": True, "time": 1}
    assert made(row) == ['m,symbol=A v=42000.0,n=9223372036854775807i,s="x",b=true 1']


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"v": 1.5}, "v=1.5"),
        ({"v": 1.5, "b": False}, "v=1.5,b=false"),
        ({"n": -7}, "n=-7i"),
        ({"s": ""}, 's=""'),
        ({"v": float("nan"), "n": 1}, "n=1i"),
        ({"v": float("inf"), "n": 1}, "n=1i"),
        ({"v": -0.0}, "v=-0.0"),
        ({"v": 1e300}, "v=1e+300"),
        ({"v": 1e-7}, "v=1e-7"),
    ],
)
def test_what_is_missing_or_no_number_is_left_out(row: dict[str, object], fields: str) -> None:
    assert made({"symbol": "A", "time": 1, **row}) == [f"m,symbol=A {fields} 1"]
    whole = {"symbol": "A", "time": 2, "v": 1.0, "n": 1, "s": "x", "b": True}
    assert made({"symbol": "A", "time": 1, **row}, whole)[0] == f"m,symbol=A {fields} 1"


def test_tags_are_sorted_escaped_and_left_out_where_empty() -> None:
    rows: list[dict[str, object]] = [
        {"symbol": "A,b= c", "exchange": "x", "v": 1.0, "time": 1},
        {"symbol": "", "exchange": "x", "v": 1.0, "time": 2},
        {"symbol": None, "exchange": None, "v": 1.0, "time": 3},
    ]
    assert made(*rows, tags=("symbol", "exchange")) == [
        r"m,exchange=x,symbol=A\,b\=\ c v=1.0 1",
        "m,exchange=x v=1.0 2",
        "m v=1.0 3",
    ]


def test_names_are_escaped_but_an_equals_sign_of_a_measurement_is_not() -> None:
    table = pl.DataFrame({"a b": ["x"], "c=d": [1.0], "time": [1]})
    assert lines("m, =x", ["a b"], table).to_list() == [r"m\,\ =x,a\ b=x c\=d=1.0 1"]


def test_text_keeps_quotes_backslashes_and_line_breaks() -> None:
    assert made({"symbol": "A", "s": 'a"b\\c\nd, =', "time": 1}) == ['m,symbol=A s="a\\"b\\\\c\nd, =" 1']


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=10))
def test_a_float_is_the_same_when_it_is_read_again(values: list[float]) -> None:
    found = made(*({"symbol": "A", "v": value, "time": 1} for value in values))
    assert [float(line.split("v=")[1].split(" ")[0]) for line in found] == values


def test_the_order_of_the_points_is_kept() -> None:
    rows: list[dict[str, object]] = [{"symbol": f"S{number % 7}", "v": 1.0, "time": number} for number in range(100)]
    assert [int(line.rpartition(" ")[2]) for line in made(*rows)] == list(range(100))


def test_what_no_line_can_hold_is_found_by_its_place() -> None:
    points = pl.DataFrame({"symbol": ["A", "a\nb", "a\\", "a\\b", None, "a\r"], "exchange": ["x"] * 6})
    assert unwritable(["symbol", "exchange"], points) == [1, 2, 5]
