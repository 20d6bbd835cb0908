"""`marketlab collect`: streams into stores, losing nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketlab.cli.options import Channels, Duration, ExchangeName, Json, RestUrl, Symbols, UntilIdle, WsUrl

if TYPE_CHECKING:
    from marketlab.lab.summary import Summary

__all__ = ["EXAMPLES", "collect"]

EXAMPLES = """
marketlab collect BTCUSDT ETHUSDT                          # live from Binance into ./marketdata, until Ctrl-C
marketlab collect BTC/USDT --channels trade,kline_1m --duration 60
marketlab collect BTCUSDT --store delta:///srv/marketdata --record btc.zst
marketlab exchange --simulate --port 9000 &                # a local exchange instead
marketlab collect BTCUSDT --ws-url ws://127.0.0.1:9000 --rest-url http://127.0.0.1:9000 --until-idle 3
"""


def collect(
    symbols: Symbols = None,
    channels: Channels = None,
    exchange: ExchangeName = None,
    ws_url: WsUrl = None,
    rest_url: RestUrl = None,
    store: Annotated[
        list[str] | None,
        typer.Option("--store", metavar="URL", help="Where to, such as delta://marketdata; may be given repeatedly."),
    ] = None,
    duration: Duration = None,
    until_idle: UntilIdle = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Also write the frames to this new tape.")
    ] = None,
    json: Json = False,
) -> None:
    """Stream symbols into a store: every trade, quote and book update, closed klines, a book snapshot a minute.

    Ends by --duration, --until-idle or Ctrl-C, with everything flushed; a second Ctrl-C ends at once. What a killed run left in its spool is stored
    by the next one, and what was missed in between is fetched back. Exit code 3: something is not in the store yet, or
    the store has refused it.
    """
    import asyncio

    from marketlab.cli.progress import show_summary, statistics_in_log, watching
    from marketlab.config import load_settings
    from marketlab.errors import StoreUnavailable
    from marketlab.lab.collect import Collector
    from marketlab.lab.feeding import feed_of
    from marketlab.lab.interrupting import take_no_more, twice_ends_at_once
    from marketlab.lab.opening import keeping

    settings = load_settings(
        symbols=tuple(symbols) if symbols else None,
        channels=channels,
        exchange=exchange,
        ws_url=ws_url,
        rest_url=rest_url,
    )
    statistics_in_log(settings.log_level)
    with (
        twice_ends_at_once("Ended at once.") as asked,
        keeping(store or [settings.store], settings) as keeper,
        watching("collecting", quiet=json) as look,
    ):

        async def run() -> "Summary":
            feed = feed_of(settings, keeper=keeper, record=record)
            collector = Collector(feed, keeper, duration=duration, until_idle=until_idle, look=look)
            if asked():
                collector.stop()
            return await collector.run()

        summary = asyncio.run(run())
        if summary.ended == "stopped":
            take_no_more()
    show_summary(summary, json=json)
    if summary.failures:
        raise StoreUnavailable(" ".join(summary.failures))
