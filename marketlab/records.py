"""The facts an exchange tells: frozen, typed, validated once at the border.

Every record says which exchange and symbol it speaks of, when it was true (`time`), when we read it off the
socket (`received`) and where it came from (`origin`). Times are integer microseconds since 1970 UTC; prices and
sizes are float64, so equal decimal text gives equal numbers.

Records are packed as tagged arrays (`["Trade", "binance", ...]`), which is what the spool holds. Fields are
therefore never reordered or removed; new ones come last, with a default.
"""

from typing import Literal, TypeAlias

import msgspec

__all__ = [
    "ORIGINS",
    "AggTrade",
    "BookSnapshot",
    "BookUpdate",
    "Gap",
    "Kline",
    "Levels",
    "Origin",
    "Quote",
    "Record",
    "Side",
    "Ticker",
    "Trade",
]

Origin: TypeAlias = Literal["stream", "rest", "backfill", "replay", "simulated"]
"""Where a record came from. What is simulated keeps that mark wherever it goes."""

ORIGINS: tuple[Origin, ...] = ("stream", "rest", "backfill", "replay", "simulated")

Side: TypeAlias = Literal["buy", "sell"]
"""The taker's side of a trade."""

Levels: TypeAlias = list[tuple[float, float]]
"""Price levels as (price, size); in an update a size of 0 removes the level. Never changed after decoding."""


class Trade(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """One trade. Ids are text, because some exchanges' ids exceed 64 bits."""

    exchange: str
    symbol: str
    trade_id: str
    time: int
    price: float
    size: float
    side: Side
    received: int
    origin: Origin


class AggTrade(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Trades of one taker order at one price, joined by the exchange."""

    exchange: str
    symbol: str
    agg_id: str
    time: int
    price: float
    size: float
    side: Side
    first_trade_id: str
    last_trade_id: str
    received: int
    origin: Origin


class Kline(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A candle, closed or still running. `close_time` is the last microsecond that belongs to it."""

    exchange: str
    symbol: str
    interval: str
    open_time: int
    close_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trade_count: int
    taker_buy_volume: float
    taker_buy_quote_volume: float
    closed: bool
    received: int
    origin: Origin


class Quote(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Best bid and ask. Where the exchange sends no time (Binance spot), `time` is `received`."""

    exchange: str
    symbol: str
    update_id: int
    time: int
    bid_price: float
    bid_size: float
    ask_price: float
    ask_size: float
    received: int
    origin: Origin


class Ticker(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Statistics of a rolling window. A mini ticker leaves trade_count, vwap and the changes empty."""

    exchange: str
    symbol: str
    time: int
    last: float
    open: float
    high: float
    low: float
    volume: float
    quote_volume: float
    trade_count: int | None
    vwap: float | None
    change: float | None
    change_percent: float | None
    received: int
    origin: Origin


class BookSnapshot(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A whole book, or its best `depth` levels a side: bids falling, asks rising.

    `verified` says that the levels follow from a snapshot of the exchange without a hole in the update ids.
    """

    exchange: str
    symbol: str
    update_id: int
    time: int
    bids: Levels
    asks: Levels
    depth: int
    verified: bool
    received: int
    origin: Origin


class BookUpdate(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Changed levels of a book, in absolute sizes, covering the update ids first_id to last_id.

    `previous_id` is the last id of the update before, on exchanges that send it.
    """

    exchange: str
    symbol: str
    first_id: int
    last_id: int
    previous_id: int | None
    time: int
    bids: Levels
    asks: Levels
    received: int
    origin: Origin


class Gap(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Something that is missing: from `start` until before `end`, and, where there are ids, from_id to to_id inclusive.

    Once fetched back, the same gap is written again with `healed_at` (time) and `healed_from` ("rest", ...).
    """

    exchange: str
    symbol: str
    channel: str
    start: int
    end: int
    from_id: str | None
    to_id: str | None
    reason: str
    healed_at: int | None
    healed_from: str | None
    received: int
    origin: Origin


Record: TypeAlias = Trade | AggTrade | Kline | Quote | Ticker | BookSnapshot | BookUpdate | Gap
"""Any record; also the type to unpack a spool's records with."""
