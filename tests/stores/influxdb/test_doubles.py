"""Rows that came before are left out, however the stream is cut."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlab import records, tables
from marketlab.stores.influxdb.doubles import Seen, whole_moments

AT = 1_723_161_600_000_000
ID = st.one_of(st.integers(0, 30).map(str), st.sampled_from(["a", "b", "007", "7x", "", str(2**70)]))


def pieces(table: pl.DataFrame, sizes: list[int]) -> list[pl.DataFrame]:
    found, start = [], 0
    for size in [*sizes, table.height]:
        found.append(table.slice(start, size))
        start += size
    return found


@given(
    st.lists(st.tuples(ID, st.sampled_from("AB"), st.integers(0, 40)), max_size=40),
    st.lists(st.integers(1, 9), max_size=8),
)
def test_the_first_of_a_key_stays_wherever_the_stream_is_cut(
    found: list[tuple[str, str, int]], sizes: list[int]
) -> None:
    rows = [records.Trade("x", symbol, id, AT + at, 1.0, 1.0, "buy", AT, "rest") for id, symbol, at in found]
    table = tables.to_table("trades", rows).sort("time", maintain_order=True)
    seen = Seen(tables.spec("trades"))
    kept = pl.concat([tables.empty("trades"), *(seen.new(part) for part in pieces(table, sizes))])
    assert kept.equals(tables.unique("trades", table))


@given(st.lists(st.integers(0, 50), max_size=60), st.lists(st.integers(1, 9), max_size=8))
def test_numbers_are_remembered_as_text_is(ids: list[int], sizes: list[int]) -> None:
    rows = [records.Quote("x", "A", id, AT + place, 1.0, 1.0, 1.0, 1.0, AT, "rest") for place, id in enumerate(ids)]
    table = tables.to_table("quotes", rows)
    seen = Seen(tables.spec("quotes"))
    kept = pl.concat([tables.empty("quotes"), *(seen.new(part) for part in pieces(table, sizes))])
    assert kept.equals(tables.unique("quotes", table))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.lists(st.integers(0, 9), max_size=8))
def test_no_microsecond_is_in_two_pieces(times: list[int], sizes: list[int]) -> None:
    table = pl.DataFrame({"time": sorted(time * 500 for time in times)}, schema={"time": pl.Int64})
    found = list(whole_moments(pieces(table, sizes)))
    assert pl.concat(found).equals(table)
    moments = [set((part.get_column("time") // 1_000).to_list()) for part in found]
    assert sum(map(len, moments)) == len(set().union(*moments))


@pytest.mark.parametrize("name", ["klines", "gaps", "tickers"])
def test_what_is_keyed_by_time_is_not_remembered(name: str) -> None:
    seen = Seen(tables.spec(name))
    assert seen.new(tables.empty(name)).is_empty()
