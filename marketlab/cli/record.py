"""`marketlab record`: an exchange's frames onto a tape."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketlab.cli.options import Channels, Duration, ExchangeName, Json, RestUrl, Symbols, UntilIdle, WsUrl

if TYPE_CHECKING:
    from marketlab.lab.summary import Summary

__all__ = ["EXAMPLES", "record"]

EXAMPLES = """
marketlab record btc.gz BTCUSDT --duration 300             # five minutes of Binance
marketlab record day.zst BTCUSDT ETHUSDT --channels trade,quote,book
marketlab exchange --tape btc.gz --speed 10                # play it to any client of Binance's protocol
marketlab replay btc.gz --store delta://replayed           # or straight into a store
"""


def record(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The new tape; .gz or .zst packs it.", show_default=False)
    ],
    symbols: Symbols = None,
    channels: Channels = None,
    exchange: ExchangeName = None,
    ws_url: WsUrl = None,
    rest_url: RestUrl = None,
    duration: Duration = None,
    until_idle: UntilIdle = None,
    json: Json = False,
) -> None:
    """Write everything that comes off the wire to a tape, as it came: frames, and the REST answers a replay needs.

    Ends by --duration, --until-idle or Ctrl-C. A tape that exists is never overwritten. What a kill leaves behind can
    be read up to the last second.
    """
    import asyncio

    from marketlab.cli.progress import show_summary, statistics_in_log, watching
    from marketlab.config import load_settings
    from marketlab.lab.collect import Collector
    from marketlab.lab.feeding import feed_of
    from marketlab.lab.interrupting import take_no_more, twice_ends_at_once

    settings = load_settings(
        symbols=tuple(symbols) if symbols else None,
        channels=channels,
        exchange=exchange,
        ws_url=ws_url,
        rest_url=rest_url,
    )
    statistics_in_log(settings.log_level)
    with twice_ends_at_once("Ended at once.") as asked, watching(f"recording to {file}", quiet=json) as look:

        async def run() -> "Summary":
            feed = feed_of(settings, record=file)
            collector = Collector(feed, None, duration=duration, until_idle=until_idle, look=look)
            if asked():
                collector.stop()
            return await collector.run()

        summary = asyncio.run(run())
        if summary.ended == "stopped":
            take_no_more()
    show_summary(summary, json=json)
