from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab.stores.influxdb.windows import Windows

HOUR = 3_600_000_000
FAR = 4_102_444_800_000_000
moments = st.integers(-HOUR, HOUR) | st.integers(1_700_000_000_000_000, 1_800_000_000_000_000) | st.just(FAR + HOUR)


def asked(windows: Windows, held: list[int], limit: int) -> list[list[int]]:
    """What a server answers that holds rows at some moments and gives at most `limit` of them at once."""
    found = []
    while (stretch := windows.bounds) is not None:
        first, last = stretch
        rows = [at for at in held if (first is None or at >= first) and (last is None or at < last)]
        if len(rows) > limit and windows.halve():
            continue
        found.append(rows)
        windows.advance(len(rows))
    return found


def test_all_of_the_time_is_one_question_where_nothing_is_refused() -> None:
    for bounds in ((None, None), (5, None), (None, 9), (5, 9)):
        windows = Windows(*bounds)
        assert windows.bounds == bounds
        windows.advance(1)
        assert windows.bounds is None


def test_a_stretch_that_is_refused_is_halved_and_grows_again() -> None:
    windows = Windows(0, 8 * HOUR)
    assert windows.halve()
    assert windows.halve()
    assert windows.bounds == (0, 2 * HOUR)
    windows.advance(10)
    assert windows.bounds == (2 * HOUR, 6 * HOUR)
    windows.advance(10_000_000)
    assert windows.bounds == (6 * HOUR, 8 * HOUR)


def test_a_stretch_with_very_many_rows_is_followed_by_a_shorter_one() -> None:
    windows = Windows(0, 64 * HOUR)
    for _ in range(3):
        windows.halve()
    windows.advance(10_000_000)
    assert windows.bounds == (8 * HOUR, 12 * HOUR)


def test_halving_ends_at_a_second() -> None:
    windows = Windows(0, HOUR)
    halvings = 0
    while windows.halve():
        halvings += 1
    assert halvings == 12
    first, last = windows.bounds or (None, None)
    assert first == 0
    assert last is not None
    assert 0 < last <= 1_000_000


def test_an_empty_stretch_asks_nothing() -> None:
    assert Windows(5, 5).bounds is None


def test_beyond_the_times_of_a_server_nothing_is_asked() -> None:
    assert Windows(None, -(2**63)).bounds is None
    assert Windows(2**62, None).bounds is None
    assert Windows(-(2**63), 2**62).bounds == (None, None)


@settings(deadline=None, max_examples=60)
@given(st.lists(moments, max_size=20, unique=True), st.integers(1, 5), st.none() | moments, st.none() | moments)
def test_every_row_is_asked_for_once_and_in_order(
    held: list[int], limit: int, start: int | None, end: int | None
) -> None:
    if start is not None and end is not None and start > end:
        start, end = end, start
    found = asked(Windows(start, end), held, limit)
    wanted = [at for at in held if (start is None or at >= start) and (end is None or at < end)]
    assert [at for rows in found for at in sorted(rows)] == sorted(wanted)
    # Only what lies within a second, or beyond 1970 and 2100, cannot be told apart.
    crowded = [rows for rows in found if len(rows) > limit]
    assert all(max(rows) - min(rows) < 1_000_000 or min(rows) < 0 or max(rows) > FAR for rows in crowded)


def test_bounds_beyond_what_the_server_can_hold_are_open() -> None:
    assert Windows(-(10**18), 10**18).bounds == (None, None)
