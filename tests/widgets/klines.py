"""Klines and trades for tests, and what a candle is by the definition."""

from collections.abc import Iterable
from fractions import Fraction

from marketlab.records import Kline, Trade

__all__ = ["MINUTE", "START", "candle", "kline", "trade"]

MINUTE = 60_000_000
START = 1_723_161_600_000_000  # 2024-08-09 00:00 UTC
_UNIT = 10**8


def kline(minute: int, close: float = 100.0, trades: int = 10, *, closed: bool = True, volume: float = 2.0) -> Kline:
    """The 1m kline that opens so many minutes after START."""
    opened = START + minute * MINUTE
    prices = (close - 1, close + 2, close - 3, close)
    return Kline(
        *("binance", "BTCUSDT", "1m", opened, opened + MINUTE - 1, *prices, volume, volume * close, trades),
        *(volume / 2, volume * close / 2, closed, opened + MINUTE, "rest"),
    )


def trade(id: int, offset: int, price: float = 100.0, size: float = 1.0) -> Trade:
    """A trade so many microseconds after START."""
    return Trade("binance", "BTCUSDT", str(id), START + offset, price, size, "buy", START + offset + 5, "stream")


def candle(trades: Iterable[Trade]) -> tuple[float, ...]:
    """Open, high, low, close, volume, quote volume and trade count; sums of whole units, each rounded once."""
    kept = list(trades)
    prices = [each.price for each in kept]
    sizes = [round(each.size * _UNIT) for each in kept]
    quote = sum(size * round(price * _UNIT) for size, price in zip(sizes, prices, strict=True))
    sums = float(Fraction(sum(sizes), _UNIT)), float(Fraction(quote, _UNIT**2))
    return (prices[0], max(prices), min(prices), prices[-1], *sums, len(kept))
