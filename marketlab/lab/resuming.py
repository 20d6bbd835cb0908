"""What stores have already, so that a feed finds and fetches back what was missed while nobody collected.

Only what ends shortly before the exchange's own time counts. A store that has something newer (an old tape is
collected into it), or whose newest is long past, is left alone: there the feed begins anew, and nothing that comes
is taken for a double. The same holds where one side is simulated and the other is not.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import polars as pl

from marketlab import tables
from marketlab.errors import StoreUnavailable
from marketlab.exchanges import find
from marketlab.exchanges.contract import Subscription
from marketlab.records import AggTrade, Gap, Kline, Origin, Trade
from marketlab.stores.contract import Store

__all__ = ["Newest", "remembered"]

Newest: TypeAlias = Trade | AggTrade | Kline

_HOUR_US = 3_600_000_000
_SLACK_US = 1_000_000  # the exchange's clock and the times of its records come from different machines
_TABLES = {"trade": "trades", "agg_trade": "agg_trades", "kline": "klines"}


def remembered(
    stores: Iterable[Store], exchange: str, streams: Sequence[Subscription], now: int, origin: Origin, seconds: float
) -> list[Newest | Gap]:
    """The newest trade, aggregate trade and closed kline of each stream, then the gaps before, for `Market.resume`.

    Where several stores have some, the one that is furthest behind decides. Where there are trades but no kline yet,
    as after a kill in the first minute, klines are owed from the first period that began after the first trade.

    Args:
        stores: where to look.
        exchange: whose records.
        streams: what will be streamed; symbols canonical.
        now: the exchange's time in microseconds.
        origin: where the exchange's answers come from.
        seconds: how long before `now` the newest record may lie, and how far back gaps are looked for.

    Raises:
        StoreUnavailable: a store cannot be read.
    """
    newest: dict[Subscription, Newest] = {}
    gaps: dict[tuple[Subscription, int], Gap] = {}
    begun: dict[str, int] = {}
    simulated = origin == "simulated"
    for store in stores:
        look = _Look(store, exchange, streams, now, seconds)
        for record in look.newest():
            stream = _stream(record)
            if (record.origin == "simulated") == simulated and (
                stream not in newest or _place(record) < _place(newest[stream])
            ):
                newest[stream] = record
        for gap in look.gaps():
            name = Subscription(gap.symbol, gap.channel), gap.start
            if gap.healed_at is None or name not in gaps:
                gaps[name] = gap
        for symbol, time in look.begun():
            begun[symbol] = min(time, begun.get(symbol, time))
    for stream in streams:
        if stream not in newest and Subscription(stream.symbol, "trade") in newest:
            newest |= _owed(exchange, stream, begun[stream.symbol], now)
    before = [gap for (stream, _), gap in gaps.items() if stream in newest and _is_before(gap, newest[stream])]
    return [*newest.values(), *before]


class _Look:
    """Into one store, for the streams of one exchange, at the time from `seconds` ago until now."""

    def __init__(self, store: Store, exchange: str, streams: Sequence[Subscription], now: int, seconds: float) -> None:
        self._store = store
        self._streams = frozenset(streams)
        symbols = sorted({stream.symbol for stream in streams})
        self._mine = (pl.col("exchange") == exchange) & pl.col("symbol").is_in(symbols)
        self._since = pl.lit(now - round(seconds * 1_000_000), pl.Int64).cast(tables.TIME)
        self._until = pl.lit(now + _SLACK_US, pl.Int64).cast(tables.TIME)

    def newest(self) -> Iterator[Newest]:
        kinds = {"kline" if stream.channel.startswith("kline") else stream.channel for stream in self._streams}
        for name in (_TABLES[kind] for kind in _TABLES if kind in kinds):
            for record in tables.to_records(name, self._collect(name, self._newest(name))):
                if _stream(record) in self._streams:
                    yield record

    def begun(self) -> list[tuple[str, int]]:
        """Symbols and the time of their first trade."""
        time = pl.col("time")
        rows = self._store.scan("trades").filter(self._mine, time >= self._since)
        return self._answer(rows.group_by("symbol").agg(time.min().cast(pl.Int64))).rows()

    def gaps(self) -> list[Gap]:
        rows = self._store.scan("gaps").filter(self._mine, pl.col("start").is_between(self._since, self._until))
        return tables.to_records("gaps", self._collect("gaps", rows))

    def _newest(self, name: str) -> pl.LazyFrame:
        rows, by, end = self._store.scan(name).filter(self._mine), ["symbol"], "time"
        if name == "klines":
            rows, by, end = rows.filter("closed"), ["symbol", "interval"], "close_time"
        rows = rows.filter(pl.col(end) >= self._since)
        id = tables.spec(name).id
        order = [pl.col(end), pl.col(id).cast(pl.Int64, strict=False)] if id else [pl.col(end)]
        return rows.group_by(by).agg(pl.exclude(by).sort_by(order).last()).filter(pl.col(end) <= self._until).sort(by)

    def _collect(self, name: str, rows: pl.LazyFrame) -> pl.DataFrame:
        return self._answer(rows.select(list(tables.spec(name).schema)))

    def _answer(self, question: pl.LazyFrame) -> pl.DataFrame:
        try:
            return question.collect()
        except (OSError, pl.exceptions.ComputeError, pl.exceptions.PanicException) as error:
            raise StoreUnavailable(f"Cannot read {self._store.url}: {error}") from error


def _stream(record: Newest) -> Subscription:
    if isinstance(record, Kline):
        return Subscription(record.symbol, f"kline_{record.interval}")
    return Subscription(record.symbol, "trade" if isinstance(record, Trade) else "agg_trade")


def _owed(exchange: str, stream: Subscription, begun: int, now: int) -> dict[Subscription, Newest]:
    """The kline before the first one that a collector which began then should have; only its times count."""
    interval = stream.channel.removeprefix("kline_")
    length = find(exchange).intervals.get(interval, 0)
    if not length or _HOUR_US % length:
        return {}
    start = (begun // length + 1) * length
    if start >= now:
        return {}
    nothing = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, 0.0)
    kline = Kline(exchange, stream.symbol, interval, start - length, start - 1, *nothing, True, now, "rest")
    return {stream: kline}


def _place(record: Newest) -> tuple[int, int, str]:
    if isinstance(record, Kline):
        return record.open_time, 0, ""
    id = record.trade_id if isinstance(record, Trade) else record.agg_id
    return record.time, len(id), id


def _is_before(gap: Gap, record: Newest) -> bool:
    if isinstance(record, Kline):
        return gap.end <= record.open_time
    _, length, id = _place(record)
    return gap.to_id is not None and (len(gap.to_id), gap.to_id) < (length, id)
