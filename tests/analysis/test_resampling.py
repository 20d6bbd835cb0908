from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab import tables
from marketlab.analysis import resample
from marketlab.errors import Unsupported, UsageError
from marketlab.market.candles import Candles, period
from marketlab.records import Kline, Trade
from marketlab.tapes import read

MINUTE = 60_000_000
DAY = 1440 * MINUTE
FRIDAY = 1_723_161_600_000_000  # 2024-08-09 00:00 UTC
LENGTHS = {"1m": MINUTE, "3m": 3 * MINUTE, "5m": 5 * MINUTE, "1h": 60 * MINUTE, "1d": DAY, "3d": 3 * DAY, "1w": 7 * DAY}


def bar(number: int, prices: tuple[float, float, float, float], *, trades: int = 1, **changes: Any) -> Kline:
    start = FRIDAY + number * MINUTE
    volume = 0.5 * trades
    base = Kline(
        *("binance", "BTCUSDT", "1m"),
        open_time=start,
        close_time=start + MINUTE - 1,
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        volume=volume,
        quote_volume=volume * prices[0],
        trade_count=trades,
        taker_buy_volume=volume / 2,
        taker_buy_quote_volume=volume * prices[0] / 2,
        closed=True,
        received=start + MINUTE,
        origin="stream",
    )
    return msgspec.structs.replace(base, **changes)


def table_of(klines: list[Kline]) -> pl.DataFrame:
    return tables.to_table("klines", klines)


def longer(engine: Any, klines: list[Kline], interval: str = "5m") -> list[Kline]:
    made: list[Kline] = tables.to_records("klines", engine.run(resample, table_of(klines), interval))
    return made


FIVE = [
    bar(0, (10.0, 12.0, 9.0, 11.0)),
    bar(1, (11.0, 15.0, 11.0, 14.0), trades=3),
    bar(2, (14.0, 14.0, 8.0, 9.0)),
    bar(3, (9.0, 10.0, 9.0, 10.0)),
    bar(4, (10.0, 13.0, 10.0, 12.5), trades=2),
]
WHOLE = Kline(
    *("binance", "BTCUSDT", "5m", FRIDAY, FRIDAY + 5 * MINUTE - 1, 10.0, 15.0, 8.0, 12.5),
    volume=4.0,
    quote_volume=0.5 * 10 + 1.5 * 11 + 0.5 * 14 + 0.5 * 9 + 1.0 * 10,
    trade_count=8,
    taker_buy_volume=2.0,
    taker_buy_quote_volume=(5 + 16.5 + 7 + 4.5 + 10) / 2,
    closed=True,
    received=FRIDAY + 5 * MINUTE,
    origin="stream",
)


def test_five_minutes_by_hand_in_any_order(engine: Any) -> None:
    for klines in (FIVE, FIVE[::-1], [FIVE[i] for i in (2, 0, 4, 1, 3)]):
        assert longer(engine, klines) == [WHOLE]


def test_a_table_fits_klines_with_the_same_types_on_every_engine(engine: Any) -> None:
    tables.check("klines", engine.run(resample, table_of(FIVE), "5m"))


def test_what_is_not_filled_is_not_closed(engine: Any) -> None:
    assert [made.closed for made in longer(engine, FIVE[1:])] == [False]
    assert [made.closed for made in longer(engine, FIVE[:-1])] == [False]
    assert [made.closed for made in longer(engine, [FIVE[0], *FIVE[2:]])] == [False]
    running = msgspec.structs.replace(FIVE[4], closed=False)
    assert longer(engine, [*FIVE[:4], running]) == [msgspec.structs.replace(WHOLE, closed=False)]


def test_no_bar_is_invented_where_there_is_none(engine: Any) -> None:
    made = longer(engine, [*FIVE, bar(17, (1.0, 1.0, 1.0, 1.0))])
    assert [(kline.open_time - FRIDAY) // MINUTE for kline in made] == [0, 15]


def test_bars_without_trades_lend_no_price_to_one_that_has_trades(engine: Any) -> None:
    quiet = (50.0, 50.0, 50.0, 50.0)
    klines = [bar(0, quiet, trades=0), bar(1, (10.0, 12.0, 9.0, 11.0)), *(bar(n, quiet, trades=0) for n in (2, 3, 4))]
    [made] = longer(engine, klines)
    assert (made.open, made.high, made.low, made.close) == (10.0, 12.0, 9.0, 11.0)
    assert made.closed


def test_only_bars_without_trades_make_one_without_trades(engine: Any) -> None:
    [made] = longer(engine, [bar(number, (7.0, 7.0, 7.0, 7.0), trades=0) for number in range(5)])
    assert (made.open, made.high, made.low, made.close) == (7.0, 7.0, 7.0, 7.0)
    assert (made.trade_count, made.volume, made.closed) == (0, 0.0, True)


def test_symbols_never_mix_and_the_answer_is_sorted_as_stores_do(engine: Any) -> None:
    others = [msgspec.structs.replace(kline, symbol="AUSDT", open=kline.open + 1) for kline in FIVE]
    later = bar(5, (1.0, 1.0, 1.0, 1.0))
    made = longer(engine, [later, *FIVE, *others])
    assert [(kline.symbol, kline.open_time) for kline in made] == [
        ("AUSDT", FRIDAY),
        ("BTCUSDT", FRIDAY),
        ("BTCUSDT", FRIDAY + 5 * MINUTE),
    ]
    assert (made[0].open, made[1].open) == (11.0, 10.0)


def test_simulated_bars_leave_their_mark(engine: Any) -> None:
    assert longer(engine, [msgspec.structs.replace(FIVE[0], origin="simulated"), *FIVE[1:]])[0].origin == "simulated"
    assert longer(engine, [msgspec.structs.replace(FIVE[0], origin="rest"), *FIVE[1:]])[0].origin == "stream"
    assert longer(engine, [*FIVE[:4], msgspec.structs.replace(FIVE[4], origin="rest")])[0].origin == "rest"


@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "1d", "3d", "1w", "1M"])
@pytest.mark.parametrize("first", [datetime(2023, 12, 27, tzinfo=UTC), datetime(2024, 2, 24, tzinfo=UTC)])
def test_boundaries_are_the_exchanges(engine: Any, interval: str, first: datetime) -> None:
    start = int(first.timestamp()) * 1_000_000
    opens = [start + number * 443 * MINUTE for number in range(40)]
    klines = [bar((time - FRIDAY) // MINUTE, (1.0, 1.0, 1.0, 1.0)) for time in opens]
    made = longer(engine, klines, interval)
    expected = sorted({period(interval, LENGTHS.get(interval, 0), time) for time in opens})
    assert [(kline.open_time, kline.close_time + 1) for kline in made] == expected


@pytest.mark.parametrize(("year", "month", "days"), [(2024, 2, 29), (2023, 2, 28), (2024, 4, 30), (2024, 12, 31)])
def test_a_month_closes_on_its_last_day(engine: Any, year: int, month: int, days: int) -> None:
    first = int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000_000
    klines = [
        bar(0, (1.0, 1.0, 1.0, 1.0), interval="1d", open_time=first + day * DAY, close_time=first + (day + 1) * DAY - 1)
        for day in range(days)
    ]
    [whole] = longer(engine, klines, "1M")
    assert (whole.closed, whole.close_time) == (True, first + days * DAY - 1)
    [short] = longer(engine, klines[:-1], "1M")
    assert not short.closed


def tail_equal(made: list[Kline], expected: list[Kline]) -> None:
    # Prices and counts to the last digit; volumes are float sums here and exact there. `received` may differ in
    # bars without trades.
    for ours, theirs in zip(made, expected, strict=True):
        assert msgspec.structs.replace(
            ours, volume=0, quote_volume=0, taker_buy_volume=0, taker_buy_quote_volume=0
        ) == (msgspec.structs.replace(theirs, volume=0, quote_volume=0, taker_buy_volume=0, taker_buy_quote_volume=0))
        for name in ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-12)


def by_candles(klines: list[Kline], interval: str) -> list[Kline]:
    candles = Candles("binance", "BTCUSDT", interval, LENGTHS[interval])
    made = [kline for small in klines for kline in candles.add_kline(small)]
    current = candles.current()
    return [*made, current] if current is not None else made


@st.composite
def minutes(draw: st.DrawFn) -> list[Kline]:
    missing = draw(st.sets(st.integers(0, 24), max_size=4))
    price = 100.0
    made = []
    for number in range(draw(st.integers(1, 25))):
        trades = draw(st.integers(0, 2))
        step = draw(st.integers(-5, 5)) if trades else 0
        after = price + step
        start = price + (draw(st.integers(-1, 1)) if trades else 0)
        if number not in missing:
            made.append(
                bar(number, (start, max(start, after) + trades, min(start, after) - trades, after), trades=trades)
            )
        price = after
    return made


@settings(deadline=None, max_examples=60)
@given(minutes())
def test_it_agrees_with_the_candles_of_the_live_path(klines: list[Kline]) -> None:
    if not klines:
        return
    made = tables.to_records("klines", resample(table_of(klines), "5m"))
    tail_equal(made, by_candles(klines, "5m"))
    assert tables.to_records("klines", resample(table_of(klines).lazy(), "5m").collect()) == made


def test_it_agrees_with_the_candles_of_real_trades(tapes: Path, engine: Any) -> None:
    minute, two = Candles("binance", "BTCUSDT", "1m", MINUTE), Candles("binance", "BTCUSDT", "2m", 2 * MINUTE)
    small: list[Kline] = []
    big: list[Kline] = []
    for line in read(tapes / "btcusdt_20240809.gz"):
        if b"@trade" in line.frame:
            trade = trade_in(line.frame, line.received)
            small += minute.add(trade)
            big += two.add(trade)
    made = longer(engine, small, "2m")
    assert [kline.closed for kline in made] == [False, True, False]
    tail_equal(made[:2], big)
    assert (made[1].open, made[1].high, made[1].low, made[1].close) == (61590.0, 61700.0, 61590.0, 61637.26)
    assert made[1].volume == pytest.approx(40.44064 + 37.08509, rel=1e-12)
    assert made[1].trade_count == 1992 + 1705


def trade_in(frame: bytes, received: int) -> Trade:
    data = msgspec.json.decode(frame)["data"]
    side: Any = "sell" if data["m"] else "buy"
    price, size = float(data["p"]), float(data["q"])
    return Trade("binance", data["s"], str(data["t"]), data["T"] * 1000, price, size, side, received // 1000, "replay")


def test_only_ohlc_is_needed(engine: Any) -> None:
    bars = table_of(FIVE).select("symbol", "open_time", "close_time", "open", "high", "low", "close", note="symbol")
    got = engine.run(resample, bars, "5m")
    assert got.columns == [
        *("symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "closed"),
    ]
    assert got.select("interval", "open", "high", "low", "close", "closed").row(0) == ("5m", 10, 15, 8, 12.5, True)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", None])
@pytest.mark.parametrize("interval", ["1d", "1w", "1M"])
def test_boundaries_are_in_utc_whatever_the_zone_of_the_times(in_memory: Any, zone: str | None, interval: str) -> None:
    bars = table_of(FIVE)
    times = pl.col("open_time", "close_time")
    moved = times.dt.convert_time_zone(zone) if zone else times.dt.replace_time_zone(None)
    got = in_memory.run(resample, bars.with_columns(moved), interval)
    assert got["open_time"].dtype == pl.Datetime("us", zone)
    back = times.dt.convert_time_zone("UTC") if zone else times.dt.replace_time_zone("UTC")
    expected = in_memory.run(resample, bars, interval)
    assert got.with_columns(back).equals(expected)


def test_another_zone_in_duckdb_is_refused() -> None:
    connection = pytest.importorskip("duckdb").connect()
    connection.execute("set TimeZone = 'Asia/Tokyo'")
    given = table_of(FIVE).to_arrow()
    with pytest.raises(Unsupported, match="needs times in UTC here, not Asia/Tokyo: run SET TimeZone = 'UTC' first"):
        resample(connection.from_arrow(given), "5m")


def test_no_bars_give_no_bars(engine: Any) -> None:
    assert engine.run(resample, table_of(FIVE).clear(), "1h").height == 0


def test_the_same_interval_is_itself(engine: Any) -> None:
    assert longer(engine, FIVE, "1m") == FIVE


def test_mistakes_are_named(in_memory: Any) -> None:
    hours = timedelta(hours=1) // timedelta(microseconds=1)
    hour = bar(0, (1.0, 1.0, 1.0, 1.0), interval="1h", close_time=FRIDAY + hours - 1)
    with pytest.raises(UsageError, match="'7m' is not an interval"):
        longer(in_memory, FIVE, "7m")
    with pytest.raises(UsageError, match="resample takes bars of one interval; here are 1h, 1m"):
        longer(in_memory, [*FIVE, hour], "1d")
    with pytest.raises(UsageError, match="Bars of 1:00:00 do not fill bars of 5m without a rest"):
        longer(in_memory, [hour], "5m")
    with pytest.raises(UsageError, match="missing here: close_time"):
        in_memory.run(resample, table_of(FIVE).drop("close_time"), "5m")
