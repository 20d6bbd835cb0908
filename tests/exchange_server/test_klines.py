from pathlib import Path
from typing import Any

import pytest

from marketlab import tapes as tape_files
from marketlab.exchange_server.klines import INTERVALS, Candle, Klines
from marketlab.exchange_server.trades import Trades

FRACTION = 1000
TRUTH = """
1723161660000: 61631.79 61631.79 61556.04 61589.99 79.69369 2931
1723161720000: 61590.00 61700.00 61590.00 61626.17 40.44064 1992
1723161780000: 61626.17 61686.00 61608.30 61637.26 37.08509 1705
1723161840000: 61637.26 61691.64 61602.00 61607.99 30.31600 1461
"""


def klines_of(events: Any, *happened: Any, interval: str = "1m", seen_from: int | None = None) -> Klines:
    trades = Trades()
    for event in happened:
        trades.keep(events.frame(event))
    trades.settle()
    klines = Klines(interval, trades, seen_from=events.minute * FRACTION if seen_from is None else seen_from)
    klines.settle()
    return klines


def test_the_full_minutes_of_the_tape_equal_the_exchanges(tapes: Path) -> None:
    trades = Trades()
    for line in tape_files.read(tapes / "btcusdt_20240809.gz"):
        if line.frame.startswith(b'{"stream":"btcusdt@trade"'):
            trades.keep(line.frame)
    trades.settle()
    klines = Klines("1m", trades, seen_from=1_723_161_601_273_000)
    klines.settle()
    shown = []
    for row in klines.between(None, None, 1000):
        if row is not klines.rows[-1]:
            opens, *prices, _, _, count, _, _, _ = row.row(micros=False)
            shown.append(f"{opens}: {' '.join(str(float(str(price))) for price in prices)} {count}")
    expected = [line.split() for line in TRUTH.split("\n") if line]
    assert shown == [f"{at} {' '.join(str(float(x)) for x in numbers)} {n}" for at, *numbers, n in expected]


def test_a_minute_without_trades_repeats_the_close_before_it(events: Any) -> None:
    klines = klines_of(events, events.trade(1, 0, "100.00000000"), events.trade(2, 180_000, "103.00000000"))
    assert [row.count for row in klines.rows] == [1, 0, 0, 1]
    empty = klines.rows[1].payload("BTCUSDT", "1m", 5_000, closed=True, micros=False)["k"]
    assert empty == {
        "t": events.minute + 60_000,
        "T": events.minute + 119_999,
        "s": "BTCUSDT",
        "i": "1m",
        "f": -1,
        "L": -1,
        **dict.fromkeys("ochl", "100.00000000"),
        **dict.fromkeys("vqVQ", "0.00000000"),
        "n": 0,
        "x": True,
        "B": "0",
    }
    assert klines.rows[3].row(micros=True)[6] == (events.minute + 240_000) * 1000 - 1


def test_only_minutes_that_are_held_in_full_are_answered(events: Any) -> None:
    began_late = klines_of(
        events, events.trade(1, 5_000), events.trade(2, 65_000), seen_from=(events.minute + 1) * 1000
    )
    assert [row.full for row in began_late.rows] == [False, True]
    hole = klines_of(
        events, *(events.trade(number, at) for number, at in [(1, 0), (2, 60_000), (5, 190_000), (6, 250_000)])
    )
    assert [row.full for row in hole.rows] == [True, False, False, False, True]
    assert [row.open_time for row in hole.between(None, None, 10)] == [hole.rows[0].open_time, hole.rows[4].open_time]


def test_time_passes_without_trades_too(events: Any) -> None:
    klines = klines_of(events, events.trade(1, 0))
    klines.advance((events.minute + 59_999) * 1000)
    assert len(klines.rows) == 1
    klines.advance((events.minute + 120_000) * 1000)
    assert [row.count for row in klines.rows] == [1, 0, 0]
    nothing = klines_of(events)
    nothing.advance(events.minute * 1000)
    assert nothing.rows == []


def test_rows_by_time_and_limit(events: Any) -> None:
    klines = klines_of(events, *(events.trade(number, number * 60_000) for number in range(10)))
    minute = INTERVALS["1m"]
    start = events.minute * 1000

    def opens(begin: int | None, end: int | None, limit: int) -> list[int]:
        return [(row.open_time - start) // minute for row in klines.between(begin, end, limit)]

    assert opens(None, None, 3) == [7, 8, 9]
    assert opens(start + 2 * minute, None, 3) == [2, 3, 4]
    assert opens(start + 1, start + 3 * minute, 10) == [1, 2, 3]
    assert opens(None, start + 4 * minute, 2) == [3, 4]


def candle(open_time: int, minutes: int, prices: tuple[int, int, int, int], count: int = 1) -> Candle:
    made = Candle(open_time, open_time + minutes * INTERVALS["1m"], prices[3], full=True)
    made.open, made.high, made.low, made.close = prices
    made.count = made.size = made.quote = count
    made.first_id, made.last_id = (10, 20) if count else (-1, -1)
    return made


@pytest.mark.parametrize(("interval", "opens", "first_full"), [("5m", [-5, 0], True), ("1h", [-60, 0], False)])
def test_history_goes_over_into_the_trades(events: Any, interval: str, opens: list[int], *, first_full: bool) -> None:
    start, minute = events.minute * 1000, INTERVALS["1m"]
    trades = Trades()
    history = [
        candle(start - 5 * minute, 1, (5, 9, 4, 6)),
        candle(start - 4 * minute, 1, (6, 6, 6, 6), count=0),
        candle(start - 3 * minute, 1, (7, 8, 2, 3)),
        candle(start - 2 * minute, 1, (3, 3, 3, 3)),
        candle(start - minute, 1, (3, 5, 3, 4)),
    ]
    klines = Klines(interval, trades, seen_from=start, history=history)
    trades.keep(events.frame(events.trade(21, 10, "0.00000005")))
    trades.settle()
    klines.settle()
    assert [(row.open_time - start) // minute for row in klines.rows] == opens
    before, now = klines.rows
    assert (before.open, before.high, before.low, before.close, before.count) == (5, 9, 2, 4, 4)
    assert (before.full, now.full, now.close) == (first_full, True, 5)


def test_history_says_nothing_of_shorter_intervals(events: Any) -> None:
    start, minute = events.minute * 1000, INTERVALS["1m"]
    klines = Klines("1s", Trades(), seen_from=start, history=[candle(start - minute, 1, (1, 1, 1, 1))])
    assert klines.rows == []
