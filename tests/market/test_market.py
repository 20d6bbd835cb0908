"""The whole market: what goes in comes out once, better, and with everything that is missing named."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from marketlab.market.market import Market, Need, Output
from marketlab.records import AggTrade, BookSnapshot, BookUpdate, Gap, Kline, Levels, Quote, Record, Ticker, Trade

MINUTE = 60_000_000


def update(id: int, time: int = 0, bids: Levels | None = None, previous: int | None = None) -> BookUpdate:
    return BookUpdate("binance", "BTCUSDT", id, id, previous, time or id, bids or [], [], id + 1, "stream")


def snapshot(id: int, levels: int = 1) -> BookSnapshot:
    bids = [(99.0 - n, 1.0) for n in range(levels)]
    return BookSnapshot("binance", "BTCUSDT", id, 12345, bids, [(101.0, 1.0)], 5000, True, 777, "rest")


def quote(id: int, time: int = 0) -> Quote:
    return Quote("binance", "BTCUSDT", id, time, 99.0, 1.0, 101.0, 1.0, time, "stream")


def ticker(time: int, count: int | None = 5) -> Ticker:
    return Ticker("binance", "BTCUSDT", time, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, count, None, None, None, time, "stream")


def trade(id: int) -> Trade:
    return Trade("binance", "BTCUSDT", str(id), id * 10, 100.0, 1.0, "buy", id * 10, "stream")


def agg_trade(id: int) -> AggTrade:
    return AggTrade("binance", "BTCUSDT", str(id), id * 10, 1.0, 1.0, "buy", "1", "1", id * 10, "stream")


def kline(minute: int, interval: str = "1m") -> Kline:
    start = minute * MINUTE
    return Kline(
        "binance", "BTCUSDT", interval, start, start + MINUTE - 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1.0, True,
        start, "stream",
    )  # fmt: skip


def give(market: Market, *records: Record) -> list[Output]:
    return [out for record in records for out in market.accept(record)]


NEED_BOOK = Need("book", "BTCUSDT", from_id="11")


def test_a_book_is_asked_for_once_and_recorded_when_it_is_there() -> None:
    market = Market("binance", depth=2)
    assert give(market, update(11, 70), update(12, 80)) == [NEED_BOOK, update(11, 70), update(12, 80)]
    assert market.needs() == [NEED_BOOK]
    assert not market.book("BTCUSDT").verified
    row = msgspec.structs.replace(snapshot(10, 5), time=70, bids=[(99.0, 1.0), (98.0, 1.0)], depth=2)
    assert give(market, snapshot(10, 5)) == [row]
    assert market.needs() == []
    book = market.book("BTCUSDT")
    assert (book.verified, book.id, len(book)) == (True, 12, 6)


def test_the_row_of_a_snapshot_waits_for_the_first_update() -> None:
    market = Market("binance")
    assert give(market, snapshot(10)) == []
    row = msgspec.structs.replace(snapshot(10), time=70, depth=100)
    assert give(market, update(11, 70)) == [update(11, 70), row]


def test_a_row_at_the_first_update_of_each_period() -> None:
    market = Market("binance", depth=1, every_us=100)
    out = give(market, snapshot(10), *(update(11 + n, time) for n, time in enumerate((90, 99, 101, 199, 350))))
    rows = [row for row in out if isinstance(row, BookSnapshot)]
    assert [(row.update_id, row.time, row.origin, row.received) for row in rows] == [
        (10, 90, "rest", 777), (13, 101, "stream", 14), (15, 350, "stream", 16),
    ]  # fmt: skip


def test_rows_do_not_depend_on_when_the_snapshot_comes() -> None:
    updates = [update(11 + n, 40 * n) for n in range(10)]
    for position in range(1, 10):
        market = Market("binance", every_us=100)
        out = give(market, *updates[:position], snapshot(10), *updates[position:])
        rows = [(row.update_id, row.time, row.bids) for row in out if isinstance(row, BookSnapshot)]
        assert rows == [(10, 11, [(99.0, 1.0)])] + [
            (id, time, [(99.0, 1.0)]) for id, time in ((14, 120), (16, 200), (19, 320))
        ]


def test_a_hole_in_a_book_resyncs_it_and_heals() -> None:
    market = Market("binance")
    give(market, snapshot(10), update(11, 70))
    gap = Gap("binance", "BTCUSDT", "book", 70, 90, "12", "14", "missing update ids", None, None, 16, "stream")
    need = Need("book", "BTCUSDT", from_id="15")
    assert give(market, update(15, 90), update(16, 91)) == [gap, need, update(15, 90), update(16, 91)]
    assert give(market, snapshot(12)) == [need]
    healed = msgspec.structs.replace(gap, healed_at=777, healed_from="rest")
    row = msgspec.structs.replace(snapshot(15), time=91, depth=100)
    assert give(market, snapshot(15)) == [healed, row]
    assert give(market, snapshot(12)) == []
    counts = market.counts()["BTCUSDT"]
    assert (counts.gaps, counts.healed, counts.resyncs, counts.messages) == (1, 1, 1, 7)


def test_a_hole_among_held_updates_is_found_when_the_snapshot_comes() -> None:
    market = Market("binance")
    give(market, update(11, 70), update(13, 70, previous=12))
    gap = Gap("binance", "BTCUSDT", "book", 70, 71, "12", "12", "missing update ids", None, None, 14, "stream")
    need = Need("book", "BTCUSDT", from_id="13")
    row = msgspec.structs.replace(snapshot(10), time=70, depth=100)
    assert give(market, snapshot(10)) == [row, gap, need]
    assert [type(out).__name__ for out in give(market, snapshot(13))] == ["Gap"]
    assert give(market, update(14, 75))[0] == update(14, 75)


def test_gaps_of_a_book_differ_in_their_start() -> None:
    market = Market("binance")
    out = give(market, snapshot(10), update(11, 70), update(13, 70), snapshot(12), update(15, 70))
    starts = [gap.start for gap in out if isinstance(gap, Gap) and gap.healed_at is None]
    assert starts == [70, 71]


def test_an_update_that_the_snapshot_holds_already_is_passed_on() -> None:
    market = Market("binance")
    give(market, snapshot(10))
    assert give(market, update(9)) == [update(9)]
    assert give(market, update(9)) == []
    assert market.counts()["BTCUSDT"].doubles == 1


def test_an_exchange_that_counts_its_updates_anew() -> None:
    market = Market("binance")
    give(market, snapshot(1000), update(1001, 70))
    assert give(market, update(5, 80)) == [Need("book", "BTCUSDT", from_id="5"), update(5, 80)]
    give(market, snapshot(4))
    assert market.book("BTCUSDT").id == 5


def test_doubles_of_overlapping_connections_are_dropped() -> None:
    market = Market("binance")
    records: list[Record] = [trade(1), agg_trade(1), kline(1), kline(1, "5m"), quote(1), ticker(1), ticker(1, None)]
    assert give(market, *records) == records
    assert give(market, *records) == []
    assert market.counts()["BTCUSDT"].doubles == len(records)


def test_a_lower_quote_id_long_after_is_no_double() -> None:
    market = Market("binance")
    given = [quote(9, 0), quote(5, 59_999_999), quote(5, 60_000_000)]
    assert give(market, *given) == [given[0], given[2]]


def test_what_is_missing_of_every_channel() -> None:
    market = Market("binance")
    give(market, trade(1), trade(3), agg_trade(1), agg_trade(4), kline(1), kline(3), update(11))
    assert market.needs() == [
        NEED_BOOK,
        Need("trades", "BTCUSDT", from_id="2", to_id="2"),
        Need("agg_trades", "BTCUSDT", from_id="2", to_id="3"),
        Need("klines", "BTCUSDT", "1m", start=2 * MINUTE, end=3 * MINUTE + 1),
    ]
    assert market.counts()["BTCUSDT"].gaps == 3


def test_what_was_kept_before_is_not_kept_again_and_what_was_missed_is_found() -> None:
    market = Market("binance")
    for kept in (trade(5), agg_trade(5), kline(5)):
        market.resume(kept)
    assert give(market, trade(5), agg_trade(5), kline(5)) == []
    give(market, trade(7), agg_trade(7), kline(7))
    assert [need.kind for need in market.needs()] == ["trades", "agg_trades", "klines"]


def test_gaps_that_were_open_before_are_taken_up_again_and_heal_under_their_own_name() -> None:
    before = Market("binance")
    told = give(before, trade(5), trade(7), agg_trade(5), agg_trade(7), kline(5), kline(7), trade(9), trade(8))
    gaps = {gap.channel: gap for gap in told if isinstance(gap, Gap) and gap.healed_at is None and gap.to_id != "8"}
    healed = next(gap for gap in told if isinstance(gap, Gap) and gap.healed_at is not None)
    market = Market("binance")
    book = msgspec.structs.replace(gaps["trade"], channel="book")
    for newest in (trade(9), agg_trade(7), kline(7)):
        market.resume(newest)
    for gap in (*gaps.values(), healed, book):
        market.resume(gap)
    assert market.needs() == before.needs()
    assert {need.kind for need in market.needs()} == {"trades", "agg_trades", "klines"}
    for missing, channel in ((trade(6), "trade"), (agg_trade(6), "agg_trade"), (kline(6), "kline_1m")):
        at, by = missing.received, missing.origin
        assert give(market, missing) == [
            missing,
            msgspec.structs.replace(gaps[channel], healed_at=at, healed_from=by),
        ]
    assert market.needs() == []


def test_a_new_gap_has_another_start_than_those_of_before() -> None:
    market = Market("binance")
    before = Gap("binance", "BTCUSDT", "trade", trade(5).time, trade(5).time + 1, "4", "4", "x", 9, "rest", 1, "stream")
    for kept in (trade(5), before):
        market.resume(kept)
    found = next(record for record in give(market, trade(7)) if isinstance(record, Gap))
    assert found.start == before.start + 1


def named(channel: str, start: int, end: int, ids: tuple[str, str] | None, by: Record) -> Gap:
    told = (*(ids or (None, None)), "nobody collected", None, None, by.received, by.origin)
    return Gap("binance", "BTCUSDT", channel, start, end, *told)


def test_updates_that_came_while_nobody_collected_are_a_gap_that_stays() -> None:
    market = Market("binance")
    market.resume(update(10, 1_000))
    first = update(15, 9_000)
    gap, need, kept = give(market, first)
    assert gap == named("book", 1_001, 9_000, ("11", "14"), first)
    assert kept == first
    assert isinstance(need, Need)
    assert market.counts()["BTCUSDT"].gaps == 1
    assert not any(isinstance(out, Gap) for out in give(market, update(16, 9_100), snapshot(14)))


@pytest.mark.parametrize("first", [update(11, 9_000), update(9, 500), update(15, 9_000, previous=10)])
def test_updates_that_go_on_where_those_that_are_kept_end_are_no_gap(first: BookUpdate) -> None:
    market = Market("binance")
    market.resume(update(10, 1_000))
    assert not any(isinstance(out, Gap) for out in give(market, first))


def test_a_time_without_quotes_is_named_where_nobody_collected() -> None:
    market = Market("binance")
    market.resume(quote(10, 1_000))
    first, second = quote(12, 1_001_000), quote(13, 9_001_000)
    assert give(market, first, second) == [named("quote", 1_001, 1_001_000, None, first), first, second]


def test_quotes_that_come_within_a_second_need_not_miss_any() -> None:
    market = Market("binance")
    market.resume(quote(10, 1_000))
    assert give(market, quote(12, 1_000_999)) == [quote(12, 1_000_999)]


def test_a_gap_without_ids_cannot_be_taken_up() -> None:
    market = Market("binance")
    market.resume(Gap("binance", "BTCUSDT", "trade", 1, 2, None, None, "x", None, None, 1, "stream"))
    assert market.needs() == []


def test_gaps_of_others_are_passed_on() -> None:
    gap = Gap("binance", "BTCUSDT", "trade", 1, 2, None, None, "x", None, None, 1, "stream")
    assert give(Market("binance"), gap) == [gap]


@pytest.mark.parametrize(
    ("names", "counted"),
    [
        (["btcusdt_20240809"], (3043, 3041, 10147, 45134, 3044)),
        (["ethusdt_20240808", "ethusdt_20240809"], (6468, 6468, 6106 + 8409, 24077 + 34681, 3434 + 3036)),
    ],
)
def test_real_frames_from_end_to_end(
    records_of: Callable[[str], Iterator[Record]], names: list[str], counted: Sequence[int]
) -> None:
    symbol = names[0][:7].upper()
    market = Market("binance")
    kinds: Counter[str] = Counter()
    for name in names:
        for record in records_of(name):
            for out in market.accept(record):
                kinds[type(out).__name__] += 1
                if isinstance(out, Need) and names[0].startswith("btc"):
                    market.accept(BookSnapshot("", symbol, int(out.from_id or 0) - 1, 0, [], [], 1, True, 0, "rest"))
    counts = market.counts()[symbol]
    assert (counts.compared, counts.equal, kinds["Trade"], kinds["Quote"], kinds["BookUpdate"]) == counted
    assert (counts.gaps, counts.doubles, kinds["Gap"], kinds["Need"]) == (0, 0, 0, 1)
    assert market.needs() == []
