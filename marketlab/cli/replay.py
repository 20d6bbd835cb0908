"""`marketlab replay`: tapes through the same pipeline, without sockets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketlab.cli.options import Channels, ExchangeName, Json

if TYPE_CHECKING:
    from marketlab.errors import TapeError
    from marketlab.lab.keeping import Keeper
    from marketlab.lab.replay import Replay
    from marketlab.lab.summary import Summary

__all__ = ["EXAMPLES", "replay"]

EXAMPLES = """
marketlab replay btc.gz                                    # into the store that is set (./marketdata)
marketlab replay monday.zst tuesday.zst --store delta://week --channels trade,kline_5m
marketlab replay btc.gz --store delta://replayed --json    # what was found, for machines
"""


def replay(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Tapes, played one after another.", show_default=False)
    ],
    symbols: Annotated[
        list[str] | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this one; may be given repeatedly.")
    ] = None,
    channels: Channels = None,
    exchange: ExchangeName = None,
    store: Annotated[
        list[str] | None,
        typer.Option("--store", metavar="URL", help="Where to; may be given repeatedly; else from the settings."),
    ] = None,
    json: Json = False,
) -> None:
    """Run tapes into a store as fast as possible: the rows that collecting the same tapes through sockets gives.

    Without --channels it takes all that the tapes hold, and builds one-minute klines from trades where they hold none.
    Of a broken tape everything before the damage is stored; the message names the line, and the exit code is 3.
    Ctrl-C ends it earlier, with everything stored that was read.
    """
    from marketlab.cli.progress import show_summary, statistics_in_log
    from marketlab.config import load_settings
    from marketlab.errors import StoreUnavailable
    from marketlab.instruments import canonical
    from marketlab.lab.feeding import go_on, market_of
    from marketlab.lab.opening import keeping
    from marketlab.lab.replay import Replay

    settings = load_settings(channels=channels, exchange=exchange)
    statistics_in_log(settings.log_level)
    with keeping(store or [settings.store], settings, patient=False) as keeper:
        source = Replay(
            files,
            channels=settings.subscribed if channels else (),
            symbols=map(canonical, symbols or ()),
            exchange=settings.exchange,
            market=market_of(settings),
            earlier=keeper.trades,
        )
        go_on(source, keeper, settings)
        summary, damage = _run(source, keeper)
    show_summary(summary, json=json)
    if damage is not None:
        raise damage
    if summary.failures:
        raise StoreUnavailable(" ".join(summary.failures))


def _run(source: "Replay", keeper: "Keeper") -> "tuple[Summary, TapeError | None]":
    from time import monotonic

    from marketlab.cli.stopping import asked_to_stop
    from marketlab.cli.terminal import counting
    from marketlab.errors import TapeError
    from marketlab.lab.summary import Summary, by_symbol

    began = monotonic()
    lines, ended, damage = 0, "end of tape", None
    with counting("replaying", "frames") as advance, asked_to_stop() as stopping:
        try:
            for batch in source.batches():
                keeper.accept(batch)
                advance(source.lines - lines)
                lines = source.lines
                if stopping():
                    ended = "stopped"
                    break
        except TapeError as error:
            ended, damage = "damaged tape", error
    kept = keeper.close()
    symbols = by_symbol(source.counts())
    summary = Summary(
        exchange=source.exchange,
        origin=source.origin,
        ended=ended,
        seconds=round(monotonic() - began, 3),
        frames=source.lines,
        unreadable=source.unreadable,
        reconnects=0,
        gaps=sum(symbol.gaps for symbol in symbols.values()),
        healed=sum(symbol.healed for symbol in symbols.values()),
        symbols=symbols,
        stores=kept,
    )
    return summary, damage
