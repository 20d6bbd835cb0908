"""The newest records of each symbol, in memory and bounded."""

from collections import deque
from collections.abc import Hashable
from typing import Any, TypeVar

from marketlab.records import AggTrade, Gap, Kline, Quote, Record, Ticker, Trade

__all__ = ["Recent"]

_KEPT = frozenset({Trade, AggTrade, Quote, Ticker, Gap})
_KLINES = 1_000
_RecordT = TypeVar("_RecordT", bound=Record)


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
