"""Makes feeds as the settings say."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marketlab.errors import StoreUnavailable, UsageError
from marketlab.exchanges import find
from marketlab.exchanges.contract import Exchange, Subscription
from marketlab.market.market import Market
from marketlab.records import Gap, Origin
from marketlab.streams.feed import Feed, Memory
from marketlab.streams.runner import StreamSettings

if TYPE_CHECKING:
    from marketlab.config import Settings
    from marketlab.lab.keeping import Keeper
    from marketlab.lab.replay import Replay
    from marketlab.lab.resuming import Newest

__all__ = ["exchange_of", "feed_of", "go_on", "market_of", "memory_of", "stream_settings"]

_log = logging.getLogger(__name__)


def exchange_of(settings: "Settings") -> Exchange:
    """The exchange that is set, asked for times in the unit that is set."""
    return find(settings.exchange, microseconds=settings.time_unit == "microsecond")


def market_of(settings: "Settings") -> Market:
    """A market that records books as often and as deep as is set."""
    every_us = round(settings.snapshot_seconds * 1_000_000)
    return Market(settings.exchange, depth=settings.snapshot_depth, every_us=every_us)


def stream_settings(settings: "Settings") -> StreamSettings:
    """How streams behave."""
    return StreamSettings(proxy=settings.proxy)


def memory_of(settings: "Settings", keeper: "Keeper") -> Memory | None:
    """What the keeper's stores have already, as a feed asks for it; None where it is not to be looked at."""
    seconds = settings.resume_seconds
    if not seconds:
        return None
    # Only whoever keeps has polars.
    from marketlab.lab.resuming import remembered

    def absent(failure: StoreUnavailable) -> None:
        _log.warning("%s What was missed since it was last written is not fetched back.", failure)

    def memory(streams: Sequence[Subscription], now: int, origin: Origin) -> "list[Newest | Gap]":
        stores, exchange = keeper.stores, settings.exchange
        return remembered(stores, exchange, streams, now, origin, seconds, spools=keeper.spools, absent=absent)

    return memory


def feed_of(settings: "Settings", *, keeper: "Keeper | None" = None, record: Path | None = None) -> Feed:
    """A feed of the symbols and channels that are set, which goes on where what the keeper has ends.

    Raises:
        UsageError: no symbol is set.
    """
    if not settings.symbols:
        raise UsageError("Name at least one symbol, such as BTCUSDT, or set MARKETLAB_SYMBOLS.")
    return Feed(
        settings.symbols,
        settings.subscribed,
        exchange_of(settings),
        ws_url=settings.ws_url,
        rest_url=settings.rest_url,
        settings=stream_settings(settings),
        record=record,
        market=market_of(settings),
        memory=None if keeper is None else memory_of(settings, keeper),
    )


def go_on(source: "Replay", keeper: "Keeper", settings: "Settings") -> None:
    """Let a replay go on where what the keeper has ends, so that what is missing in between is named."""
    memory = memory_of(settings, keeper)
    if memory is not None:
        for record in memory(source.streams, source.start, source.origin):
            source.market.resume(record)
