"""Holes are named, asked for and healed; doubles vanish."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlab.market.continuity import HOLES, Counts, IdContinuity, KlineContinuity, Need, Output
from marketlab.records import AggTrade, Gap, Kline, Origin, Trade

MINUTE = 60_000_000


def trade(id: int | str, time: int | None = None, origin: Origin = "stream") -> Trade:
    when = int(id) * 10 if time is None else time
    return Trade("binance", "BTCUSDT", str(id), when, 100.0, 1.0, "buy", when + 5, origin)


def trades() -> tuple[IdContinuity, Counts]:
    counts = Counts()
    return IdContinuity("binance", "BTCUSDT", "trades", counts), counts


def give(judge: IdContinuity, *given: Trade) -> list[Output]:
    return [out for one in given for out in judge.accept(one.trade_id, one)]


def test_a_hole_in_the_ids_is_named_and_asked_for_and_heals() -> None:
    judge, counts = trades()
    assert give(judge, trade(7)) == [trade(7)]
    gap = Gap("binance", "BTCUSDT", "trade", 70, 111, "8", "10", "missing trade ids", None, None, 115, "stream")
    need = Need("trades", "BTCUSDT", from_id="8", to_id="10")
    assert give(judge, trade(11)) == [gap, need, trade(11)]
    assert judge.needs() == [need]
    fetched = [trade(id, origin="rest") for id in (7, 8, 9, 10, 11)]
    healed = msgspec.structs.replace(gap, healed_at=105, healed_from="rest")
    assert give(judge, *fetched) == [*fetched[1:4], healed]
    assert judge.needs() == []
    assert counts == Counts(doubles=2, gaps=1, healed=1)
    assert give(judge, trade(12)) == [trade(12)]


def test_what_cannot_be_fetched_stays_missing() -> None:
    judge, counts = trades()
    give(judge, trade(7), trade(11))
    assert give(judge, trade(9, origin="rest")) == [trade(9, origin="rest")]
    assert give(judge, trade(9, origin="rest")) == []
    assert judge.needs() == [
        Need("trades", "BTCUSDT", from_id="8", to_id="8"),
        Need("trades", "BTCUSDT", from_id="10", to_id="10"),
    ]
    assert (counts.gaps, counts.healed) == (1, 0)


def test_gaps_of_one_microsecond_are_told_apart_by_their_start() -> None:
    judge, _ = trades()
    out = give(judge, *(trade(id, 50) for id in (1, 3, 5)))
    assert [(gap.start, gap.end) for gap in out if isinstance(gap, Gap)] == [(50, 51), (51, 52)]


def test_two_connections_that_overlap() -> None:
    judge, counts = trades()
    assert give(judge, trade(1), trade(1), trade(2), trade(2), trade(1)) == [trade(1), trade(2)]
    assert counts.doubles == 3
    assert counts.gaps == 0


def test_an_older_id_with_a_later_time_is_a_new_series() -> None:
    judge, counts = trades()
    assert give(judge, trade(1000, 50), trade(1, 60), trade(2, 61)) == [trade(1000, 50), trade(1, 60), trade(2, 61)]
    assert counts == Counts()


def test_times_may_run_backwards_between_neighbours() -> None:
    judge, counts = trades()
    give(judge, trade(1, 50), trade(2, 49))
    assert give(judge, trade(1, 50)) == []
    assert counts.doubles == 1


def test_ids_that_are_no_numbers_are_passed_on() -> None:
    judge, _ = trades()
    judge.resume("abc", 5)
    assert give(judge, trade("x", 1), trade("x", 1)) == [trade("x", 1)] * 2


def test_what_was_missed_while_nobody_listened() -> None:
    judge, _ = trades()
    judge.resume("5", 50)
    assert [type(out).__name__ for out in give(judge, trade(5), trade(9))] == ["Gap", "Need", "Trade"]
    assert judge.needs() == [Need("trades", "BTCUSDT", from_id="6", to_id="8")]


def test_aggregate_trades_have_ids_of_their_own() -> None:
    judge = IdContinuity("binance", "BTCUSDT", "agg_trades", Counts())
    one, three = (
        AggTrade("binance", "BTCUSDT", str(id), id, 1.0, 1.0, "sell", "1", "2", id, "stream") for id in (1, 3)
    )
    judge.accept("1", one)
    gap, need, _ = judge.accept("3", three)
    assert isinstance(gap, Gap)
    assert gap.channel == "agg_trade"
    assert need == Need("agg_trades", "BTCUSDT", from_id="2", to_id="2")


def test_only_so_many_holes_are_remembered() -> None:
    judge, counts = trades()
    for id in range(1, 2 * HOLES + 7, 2):
        give(judge, trade(id))
    assert counts.gaps == HOLES + 2
    assert len(judge.needs()) == HOLES
    assert give(judge, trade(2)) == []
    assert give(judge, trade(6))[0] == trade(6)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_every_id_comes_out_once_and_gaps_say_what_is_missing(ids: list[int]) -> None:
    judge, counts = trades()
    out = give(judge, *(trade(id) for id in ids))
    passed = [int(one.trade_id) for one in out if isinstance(one, Trade)]
    first = ids[0]
    assert sorted(passed) == sorted({id for id in ids if id >= first})
    assert counts.doubles == len(ids) - len(passed)
    missing = set(range(first, max(passed))) - set(passed)
    asked = [range(int(need.from_id or 0), int(need.to_id or 0) + 1) for need in judge.needs()]
    assert sorted(id for part in asked for id in part) == sorted(missing)
    gaps = [one for one in out if isinstance(one, Gap)]
    assert sum(gap.healed_at is None for gap in gaps) == counts.gaps
    assert sum(gap.healed_at is not None for gap in gaps) == counts.healed
    assert len({gap.start for gap in gaps if gap.healed_at is None}) == counts.gaps


def kline(minute: int, count: int = 1, *, closed: bool = True, origin: Origin = "stream") -> Kline:
    start = minute * MINUTE
    return Kline(
        "binance", "BTCUSDT", "1m", start, start + MINUTE - 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, count, 1.0, 1.0, closed,
        start + count, origin,
    )  # fmt: skip


def klines() -> tuple[KlineContinuity, Counts]:
    counts = Counts()
    return KlineContinuity("binance", "BTCUSDT", "1m", counts), counts


def accept(judge: KlineContinuity, given: Iterable[Kline]) -> list[Output]:
    return [out for one in given for out in judge.accept(one)]


GAP = Gap("binance", "BTCUSDT", "kline_1m", 2 * MINUTE, 4 * MINUTE, None, None, "missing klines", None, None,
          4 * MINUTE + 1, "stream")  # fmt: skip
NEED = Need("klines", "BTCUSDT", "1m", start=2 * MINUTE, end=4 * MINUTE + 1)


def test_closed_klines_in_order_pass() -> None:
    judge, counts = klines()
    given = [kline(1, 5, closed=False), kline(1, 9), kline(2, 1, closed=False), kline(2, 3), kline(3, 2)]
    assert accept(judge, given) == given
    assert counts == Counts()


def test_missing_klines_are_named_and_heal() -> None:
    judge, counts = klines()
    assert accept(judge, [kline(1), kline(4)]) == [kline(1), GAP, NEED, kline(4)]
    assert judge.needs() == [NEED]
    fetched = [kline(minute, origin="rest") for minute in (2, 3, 4)]
    healed = msgspec.structs.replace(GAP, healed_at=3 * MINUTE + 1, healed_from="rest")
    assert accept(judge, fetched) == [*fetched[:2], healed]
    assert counts == Counts(doubles=1, gaps=1, healed=1)
    assert accept(judge, [kline(5)]) == [kline(5)]


def test_a_running_kline_seen_twice_tells_that_others_are_missing() -> None:
    judge, _ = klines()
    running = [kline(4, count, closed=False) for count in (1, 1, 2)]
    assert accept(judge, [kline(1), *running]) == [kline(1), running[0], GAP, NEED, *running[1:]]
    assert accept(judge, [kline(4, 9), kline(5)]) == [kline(4, 9), kline(5)]


def test_the_end_of_a_period_may_come_after_the_first_sight_of_the_next() -> None:
    judge, counts = klines()
    given = [kline(1), kline(3, closed=False), kline(2), kline(3, 2, closed=False), kline(3, 3)]
    assert accept(judge, given) == given
    assert counts.gaps == 0


def test_the_period_that_was_running_at_the_start_is_not_promised() -> None:
    judge, counts = klines()
    given = [kline(1, closed=False), kline(2, closed=False), kline(1), kline(2)]
    assert accept(judge, given) == given
    assert accept(judge, [kline(1)]) == []
    assert counts == Counts(doubles=1)


def test_a_period_that_was_seen_running_is_missed_when_its_end_is_lost() -> None:
    judge, counts = klines()
    found = accept(judge, [kline(5, 1, closed=False), kline(6)])
    gaps = [record for record in found if isinstance(record, Gap)]
    assert [(gap.start, gap.end) for gap in gaps] == [(5 * MINUTE, 6 * MINUTE)]
    assert counts.gaps == 1


def test_a_tape_may_hold_the_end_of_the_period_in_which_it_begins() -> None:
    judge, counts = klines()
    given = [kline(5, 1, closed=False, origin="replay"), kline(5, 9, origin="replay"), kline(6, origin="replay")]
    assert accept(judge, given) == given
    assert counts == Counts()


def test_a_tape_does_not_close_the_period_in_which_it_begins() -> None:
    judge, counts = klines()
    accept(judge, [kline(5, 1, closed=False, origin="replay"), kline(6, origin="replay")])
    assert counts.gaps == 0


def test_older_sights_of_a_kline_are_doubles() -> None:
    judge, counts = klines()
    given = [kline(1, 5, closed=False), kline(1, 4, closed=False), kline(1, 9), kline(1, 9), kline(1, 9, closed=False)]
    assert accept(judge, given) == [given[0], given[2]]
    assert counts.doubles == 3


def test_klines_since_the_last_one_that_was_kept() -> None:
    judge, _ = klines()
    judge.resume(kline(1))
    assert accept(judge, [kline(1), kline(4)]) == [GAP, NEED, kline(4)]


@pytest.mark.parametrize("count", [1, 3])
def test_a_gap_of_any_length_is_one_row(count: int) -> None:
    judge, counts = klines()
    accept(judge, [kline(1), kline(2 + count)])
    assert counts.gaps == 1
    assert len(judge.needs()) == 1
