"""Starts a background feed as the settings say, with a store behind it."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from marketlab.exchange_server.local import LocalExchange
from marketlab.lab.feeding import exchange_of, market_of, memory_of, stream_settings
from marketlab.streams.live import LiveFeed, live

if TYPE_CHECKING:
    from marketlab.config import Settings
    from marketlab.stores.contract import Store

__all__ = ["running"]


def running(
    settings: "Settings",
    *,
    store: "str | Store | None",
    name: str | None,
    record: Path | str | None,
    local: LocalExchange | None = None,
) -> LiveFeed:
    """A feed of what is set; when it stops, what came is flushed to the store. Raises what `live` raises.

    A local exchange that nobody else refers to lasts as long as the feed.
    """
    behind = ExitStack()
    behind.callback(lambda _: None, local)
    try:
        keeper = None
        if store is not None:
            # Whoever only looks needs no polars.
            from marketlab.lab.opening import keeping

            keeper = behind.enter_context(keeping([store], settings))
        return live(
            settings.symbols,
            settings.subscribed,
            exchange_of(settings),
            name=name,
            into=store if store is None or isinstance(store, str) else store.url,
            ws_url=settings.ws_url,
            rest_url=settings.rest_url,
            market=market_of(settings),
            memory=None if keeper is None else memory_of(settings, keeper),
            settings=stream_settings(settings),
            record=record,
            lossless=() if keeper is None else (keeper.accept,),
            ended=(behind.close,),
        )
    except BaseException:
        behind.close()
        raise
