"""The composition root: wires streams, stores and the local exchange, as the settings say.

`live`, `open_store`, `local_exchange` and `dashboard` are what a notebook starts with; `collect`, `record` and `replay` of the
command line use the modules beside this one.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from marketlab.errors import UsageError
from marketlab.exchange_server.local import LocalExchange
from marketlab.streams.live import LiveFeed

if TYPE_CHECKING:
    from marketlab.lab.dashboards import Dashboard
    from marketlab.stores.contract import Store

__all__ = ["dashboard", "live", "local_exchange", "open_store"]

_HIGHEST_PORT = 65_535


def live(
    symbols: str | Iterable[str] = (),
    channels: str | Iterable[str] = (),
    exchange: str | LocalExchange | None = None,
    *,
    store: "str | Store | None" = None,
    name: str | None = None,
    ws_url: str | None = None,
    rest_url: str | None = None,
    record: Path | str | None = None,
) -> LiveFeed:
    """Stream in the background, in a thread of its own; data flows when this returns. `feed.stop()` ends it.

    Running the same call again, as when a cell is run again, stops the former feed; with a new local exchange in the
    place of the former one it is still the same call. The same symbols into another store are another feed.

    Args:
        symbols: in any spelling; else those of the settings.
        channels: `trade`, `agg_trade`, `kline_<interval>`, `quote`, `book`, `ticker`, `mini_ticker`; else those of
            the settings.
        exchange: its name, or what `local_exchange` returned; else that of the settings.
        store: URL of a store that gets every record as well, and what it missed since it last did; `feed.stop()`
            flushes it.
        name: two calls with one name are the same feed, whatever else differs; without it, those with the same
            exchange, addresses, symbols, channels and store are.
        ws_url: another base URL for streams.
        rest_url: another base URL for REST.
        record: a new tape that gets everything that comes off the wire.

    Raises:
        UsageError: an unknown symbol, channel or exchange, a wrong setting, or a tape that exists already.
        ConnectionLost: the exchange cannot be reached.
    """
    from marketlab.config import load_settings
    from marketlab.lab.living import running

    wanted, subscribed = _several(symbols, "symbols"), _several(channels, "channels")
    if not isinstance(exchange, str | LocalExchange | None):
        raise UsageError(f"exchange is {exchange!r}; give a name such as 'binance', or what local_exchange returned.")
    if store is not None and not isinstance(store, str) and not hasattr(store, "url"):
        raise UsageError(f"store is {store!r}; give a URL such as 'delta://marketdata', or what open_store returned.")
    local = exchange if isinstance(exchange, LocalExchange) else None
    if local is not None and name is None:
        # Each local exchange has a port of its own, but it is the same cell that makes it.
        into = store if store is None or isinstance(store, str) else store.url
        name = f"local {sorted(wanted or ())} {sorted(subscribed or ())} {into}"
    settings = load_settings(
        caller="live()",
        symbols=wanted,
        channels=subscribed,
        exchange=exchange if isinstance(exchange, str) else None,
        ws_url=ws_url or (local and local.ws_url),
        rest_url=rest_url or (local and local.rest_url),
    )
    return running(settings, store=store, name=name, record=record, local=local)


def open_store(url: str | None = None) -> "Store":
    """The store at a URL, such as `delta://marketdata` or `influxdb://host:8086/database`; else that of the settings.

    What the URL does not say, such as a token, comes from the settings.

    Raises:
        UsageError: no store answers to such a URL.
        MissingDependency: the store needs a package that is not installed.
    """
    from marketlab.config import load_settings
    from marketlab.stores.open import open_store as open_url

    settings = load_settings(store=url, caller="open_store()")
    return open_url(settings.store, settings)


def local_exchange(
    tape: str | Path | Iterable[str | Path] = (),
    *,
    simulate: bool = False,
    symbols: str | Iterable[str] = ("BTCUSDT", "ETHUSDT"),
    seed: int = 1,
    start: str = "2024-08-09",
    duration: float | None = None,
    speed: float = 1.0,
    port: int = 0,
) -> LocalExchange:
    """A local exchange that speaks Binance's protocol, in a thread of its own; `stop()` ends it.

    Args:
        tape: recordings to play, one after another.
        simulate: make the data up instead; it is marked as simulated wherever it goes.
        symbols: what is simulated.
        seed: another seed, another simulation.
        start: when the simulation begins (UTC).
        duration: seconds of exchange time that are simulated; None: no end.
        speed: times the original pace; `float("inf")`: as fast as clients read.
        port: 0 takes a free one.

    Raises:
        UsageError: neither or both of tape and simulation, or a port that is taken or none at all.
        TapeError: a tape is missing or broken.
    """
    from marketlab.exchange_server.simulation import Simulation
    from marketlab.exchange_server.source import Source, TapeSource

    tapes = [tape] if isinstance(tape, str | Path) else list(tape)
    if bool(tapes) == simulate:
        raise UsageError("Say what to play: either tape=... or simulate=True.")
    numbers: dict[str, object] = {"speed": speed, "duration": 1.0 if duration is None else duration, "port": port}
    for name, number in numbers.items():
        if not isinstance(number, int if name == "port" else int | float):
            raise UsageError(f"{name} is {number!r}; give a number.")
    if not 0 <= port <= _HIGHEST_PORT:
        raise UsageError(f"port is {port!r}; give a number from 0 to {_HIGHEST_PORT}.")
    source: Source = (
        Simulation(_several(symbols, "symbols") or (), seed=seed, start=start, duration=duration)
        if simulate
        else TapeSource(*tapes)
    )
    return LocalExchange(source, speed=speed, port=port)


def dashboard(
    feed: LiveFeed,
    symbols: str | Iterable[str] | None = None,
    interval: str = "1m",
    store: "str | Store | None" = None,
    height: int = 640,
    palette: str = "default",
) -> "Dashboard":
    """A feed at a glance: a watchlist whose selected symbol is shown as chart, ladder and trades, with controls.

    What it needs is subscribed to where the feed lacks it. Running its cell again replaces it; `close()` ends it.

    Args:
        feed: what `live` returned.
        symbols: in any spelling; else those of the feed.
        interval: of the chart's bars.
        store: where the chart looks for history first: a URL, or what `open_store` returned.
        height: pixels of the whole where there is room for three columns.
        palette: `default`, or `cvd` for colours that people tell apart who cannot tell green from red.

    Raises:
        UsageError: not a feed, no symbol, an interval that the exchange has not, or a wrong height or palette.
        UnknownSymbol: the exchange lists no such symbol.
        MissingDependency: ipywidgets or anywidget is not installed.
    """
    try:
        from marketlab.lab.dashboards import Dashboard
    except ModuleNotFoundError as error:
        from marketlab.extras import missing

        raise missing(error, "dashboard()") or error from None
    return Dashboard(feed, symbols, interval, store, height, palette)


def _several(names: object, what: str) -> tuple[str, ...] | None:
    several = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else (names,)
    texts = tuple(name for name in several if isinstance(name, str))
    if len(texts) < len(several):
        raise UsageError(f"{what} are {names!r}; give one as text, or several in a list.")
    return texts or None
