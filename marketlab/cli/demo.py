"""`marketlab demo`: the main job in half a minute, on a local exchange."""

from typing import TYPE_CHECKING, Annotated

import typer

from marketlab.cli.options import StoreUrl

if TYPE_CHECKING:
    from collections.abc import Callable

    from marketlab.streams.live import LiveFeed

__all__ = ["EXAMPLES", "demo"]

EXAMPLES = """
marketlab demo                                   # five simulated minutes in a quarter of one
marketlab demo --store delta:///tmp/first-look
"""

_SYMBOLS = ("BTCUSDT", "ETHUSDT")
_CHANNELS = ("trade", "quote", "book", "kline_1m")
_STORE = "delta://marketdata-demo"
_DURATION = 300.0
_LONGEST_S = 60.0


def demo(
    store: StoreUrl = _STORE,
    speed: Annotated[float, typer.Option("--speed", min=1, help="Times the original pace.")] = 20.0,
) -> None:
    """Start a local exchange with made-up prices, stream it, store everything, read it back and analyse it.

    Ends by itself; Ctrl-C ends it earlier, with everything stored that came, a second one at once. The data is
    simulated and marked so.
    """
    from marketlab.cli.terminal import note
    from marketlab.lab import live, local_exchange
    from marketlab.lab.interrupting import twice_ends_at_once

    url = store or _STORE
    note(f"A local exchange with SIMULATED prices, five minutes at {speed:g} times the pace. No network is used.\n")
    with twice_ends_at_once("Ended at once; what is not stored yet waits in the spool for the next run.") as asked:
        with (
            local_exchange(simulate=True, symbols=_SYMBOLS, seed=1, duration=_DURATION, speed=speed) as exchange,
            live(_SYMBOLS, _CHANNELS, exchange, store=url, name="marketlab demo") as feed,
        ):
            _watch(feed, asked)
            stopped = asked()
            status = feed.status()
        if stopped:
            note("Stopped; what came is stored.")
        for book in status.books:
            note(
                f"{book.symbol}: the order book was compared with the exchange's own quotes {book.compared:,} times "
                f"and was equal {book.equal:,} times."
            )
        _analyse(url)
        note(f"\nThe data (simulated) is in {url}. What next:")
        note(f"  marketlab query trades BTCUSDT --store {url}")
        note(f"  marketlab export klines klines.csv --interval 1m --store {url}")
        note("  marketlab lab                          # the same in a notebook")
        note("  marketlab collect BTCUSDT              # the real exchange, into delta://marketdata")


def _watch(feed: "LiveFeed", asked: "Callable[[], bool]") -> None:
    from time import monotonic, sleep

    from marketlab.cli.progress import watching

    seen, heard, end = 0, monotonic(), monotonic() + _LONGEST_S
    with watching("Live from the local exchange") as look:
        told = 0.0
        while not asked() and monotonic() < end and monotonic() - heard < 1.5:
            sleep(0.1)
            status = feed.status()
            if status.records > seen:
                seen, heard = status.records, monotonic()
            if look is not None:
                look(status)
            elif monotonic() - told >= 1.0:
                told = monotonic()
                _print_prices(feed)


def _print_prices(feed: "LiveFeed") -> None:
    from marketlab.cli.terminal import note

    prices = []
    for symbol in _SYMBOLS:
        quote = feed.quote(symbol)
        if quote is not None:
            prices.append(f"{symbol} {quote.bid_price:,.2f} / {quote.ask_price:,.2f}")
    if prices:
        note("   ".join(prices) + "   (simulated)")


def _analyse(url: str) -> None:
    from marketlab.cli.analyze import analyze
    from marketlab.cli.terminal import note

    note("\nPrice changes and statistics of the stored one-minute klines:")
    analyze(symbols=None, windows="1m,3m", store=url, interval="1m")
