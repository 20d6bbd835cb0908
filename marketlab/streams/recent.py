"""The newest records of each symbol, in memory and bounded."""

from collections import deque
from collections.abc import Hashable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeVar

from marketlab.records import AggTrade, Gap, Kline, Quote, Record, Ticker, Trade

__all__ = ["Recent", "rank"]

_KEPT = frozenset({Trade, AggTrade, Quote, Ticker, Gap})
_KLINES = 1_000
_RecordT = TypeVar("_RecordT", bound=Record)
_TIME = attrgetter("time")


class Recent:
    """Keeps the newest `keep` trades, quotes, tickers and gaps of each symbol, and 1,000 klines of each interval."""

    def __init__(self, keep: int = 10_000) -> None:
        self._keep = keep
        self._rings: dict[Hashable, deque[Any]] = {}
        self._klines: dict[tuple[str, str], dict[int, Kline]] = {}

    def add(self, records: list[Record]) -> None:
        """Take a batch."""
        rings = self._rings
        for record in records:
            kind = type(record)
            ring = rings.get((kind, record.symbol))
            if ring is not None:
                ring.append(record)
            elif isinstance(record, Kline):
                self._add_kline(record)
            else:
                keep = self._keep if kind in _KEPT else 0
                rings[kind, record.symbol] = deque((record,), maxlen=keep)

    def records(self, kind: type[_RecordT], symbol: str) -> list[_RecordT]:
        """A copy of what is kept, in the order it came."""
        return list(self._rings.get((kind, symbol), ()))

    def newest_trades(self, symbol: str) -> Iterator[Trade]:
        """The trades that are kept now, the newest first by time and id, each once; only what is taken costs much."""
        # By the time alone first, which is quick where they are in order; that of their ids only as far as is looked.
        return _newest_first(sorted(self._rings.get((Trade, symbol), ()), key=_TIME))

    def klines(self, symbol: str, interval: str) -> list[Kline]:
        """A copy of the klines that are kept, by opening time; the last one may still be open."""
        kept = self._klines.get((symbol, interval), {})
        return [kept[open_time] for open_time in sorted(kept)]

    def _add_kline(self, kline: Kline) -> None:
        kept = self._klines.setdefault((kline.symbol, kline.interval), {})
        known = kept.get(kline.open_time)
        if known is None or kline.closed or not known.closed:
            kept[kline.open_time] = kline
        if len(kept) > _KLINES:
            del kept[min(kept)]


def rank(trade: Trade) -> tuple[int, int, str]:
    """What trades are ordered by: time, then id, as a number where it is one."""
    id = trade.trade_id
    return (trade.time, int(id) if id.isdecimal() else 0, id)


def _newest_first(by_time: list[Trade]) -> Iterator[Trade]:
    seen: set[str] = set()
    for _, same_time in groupby(reversed(by_time), key=_TIME):
        for trade in sorted(same_time, key=rank, reverse=True):
            if trade.trade_id not in seen:
                seen.add(trade.trade_id)
                yield trade
