"""Klines as a picture: candles over their volume."""

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from marketlab.errors import MissingDependency, UsageError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["candles"]

# Fills of at least 3:1 against a white and a black ground; cvd is Okabe and Ito's blue and vermillion, which people
# tell apart who cannot tell green from red.
_PALETTES = {"default": ("#26a69a", "#ef5350"), "cvd": ("#0072B2", "#D55E00")}
_TEXT = "#777777"
_GRID = "rgba(128,128,128,0.2)"
_CLEAR = "rgba(0,0,0,0)"
_NEEDED = ("symbol", "open_time", "close_time", "open", "high", "low", "close", "volume")
_NAMES = ("exchange", "symbol", "interval", "origin")
_PRICES = ("open", "high", "low", "close")
_HOLES_SHOWN = 200
_LEAST_HEIGHT = 100
_MOST_DECIMALS = 12


class _Bars(msgspec.Struct, frozen=True):
    times: list[datetime]
    ends: list[datetime]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    header: list[str]


def candles(bars: Any, *, palette: Literal["default", "cvd"] = "default", height: int = 480) -> "Figure":
    """Candles over volume (the lower fifth), a line at the last price, dotted lines where bars are missing.

    The header says exchange, symbol, interval and where the bars came from; simulated ones are always marked. Times
    are UTC. Rising candles are lighter inside than falling ones, so colour is not all that tells them apart. The same
    bars give the same figure to the last character; of bars with one open_time the one with most volume is drawn.
    Without bars the figure says so.

    Args:
        bars: klines of one symbol and interval, in any order: a table of polars (eager or lazy), pandas or DuckDB.
        palette: `default` is teal and red; `cvd` is blue and vermillion.
        height: in pixels, at least 100; the width is that of the place it is shown in.

    Raises:
        MissingDependency: plotly is not installed.
        UsageError: columns or values are missing, a price is not above 0, bars of several symbols or intervals, no such
            palette or height.
    """
    if palette not in _PALETTES:
        raise UsageError(f"There is no palette {palette!r}; choose {' or '.join(_PALETTES)}.")
    if not height >= _LEAST_HEIGHT:
        raise UsageError(f"A chart cannot be {height} pixels high; the least is {_LEAST_HEIGHT}.")
    try:
        from plotly.graph_objects import Figure
    except ImportError:
        raise MissingDependency("plotly", "notebook", "Drawing a chart") from None
    given = _bars(bars)
    layout = _layout(height, given.header)
    if not given.times:
        return Figure({"data": [], "layout": layout | _empty()})
    up, down = _PALETTES[palette]
    layout["shapes"] = [_last_price_line(given), *_holes(given)]
    layout["annotations"] = [_last_price(given), _change(given)]
    layout["yaxis"]["tickformat"] = f",.{_tick_decimals(given)}f"
    # About 7 pixels a digit, so that neither the last price nor the labels are cut off.
    layout["margin"]["r"] = max(84, 26 + 7 * len(_number(max(given.high), _tick_decimals(given))))
    if len(given.times) == 1:
        layout["xaxis"]["range"] = _around(given)
    return Figure({"data": [_candles(given, up, down), _volume(given, up, down)], "layout": layout})


def _bars(native: Any) -> _Bars:
    # Plotly brings narwhals along, so this comes after the look for plotly.
    import narwhals as nw

    from marketlab.analysis.engines import enter

    table = enter(native, "charts.candles", _NEEDED, ("open_time", "close_time"))
    if isinstance(table, nw.LazyFrame):
        table = table.collect()
    for name in table.columns:
        if name in (*_NEEDED, *_NAMES) and (empty := table[name].null_count()):
            raise UsageError(f"Every bar has to have {name}; {empty} of {len(table)} have none.")
    names = {name: _names(table, name) for name in _NAMES}
    for name in ("exchange", "symbol", "interval"):
        if len(names[name]) > 1:
            raise UsageError(f"A chart shows one {name}; choose one of {', '.join(names[name])}.")
    header = [word for name in ("exchange", "symbol", "interval") for word in names[name]]
    if names["origin"]:
        header.append(", ".join(f"<b>{origin}</b>" if origin == "simulated" else origin for origin in names["origin"]))
    numbers = [table[name].cast(nw.Float64).to_list() for name in ("volume", *_PRICES)]
    return _in_order(_times(table["open_time"]), _times(table["close_time"]), numbers, header)


def _in_order(times: list[datetime], ends: list[datetime], numbers: list[list[float]], header: list[str]) -> _Bars:
    # By volume within one time: the fullest of bars that are there twice is the last one, and stays.
    rows = {row[0]: row for row in sorted(zip(times, *numbers, ends, strict=True))}.values()
    volume, *columns = ([row[place] for row in rows] for place in range(1, len(numbers) + 1))
    prices = dict(zip(_PRICES, columns, strict=True))
    for name, column in prices.items():
        if not all(0 < price < math.inf for price in column):
            raise UsageError(f"A price is a number above 0; {name} is not, in at least one bar.")
    times, ends = [row[0] for row in rows], [row[-1] for row in rows]
    return _Bars(times=times, ends=ends, volume=volume, header=header, **prices)


def _names(table: Any, column: str) -> list[str]:
    return sorted(set(table[column].to_list())) if column in table.columns else []


def _times(column: Any) -> list[datetime]:
    # Plotly shows times as they are written, so they are written in UTC and without a zone.
    moments = [datetime.fromisoformat(moment.isoformat()) for moment in column.to_list()]
    return [moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment for moment in moments]


def _candles(bars: _Bars, up: str, down: str) -> dict[str, Any]:
    return {
        "type": "candlestick",
        "name": "price",
        "x": bars.times,
        "open": bars.open,
        "high": bars.high,
        "low": bars.low,
        "close": bars.close,
        "increasing": {"line": {"color": up, "width": 1.2}, "fillcolor": _faint(up)},
        "decreasing": {"line": {"color": down, "width": 1.2}, "fillcolor": down},
    }


def _volume(bars: _Bars, up: str, down: str) -> dict[str, Any]:
    rises = [close >= open for open, close in zip(bars.open, bars.close, strict=True)]
    return {
        "type": "bar",
        "name": "volume",
        "x": bars.times,
        "y": bars.volume,
        "yaxis": "y2",
        "marker": {"color": [_faint(up) if rise else down for rise in rises], "line": {"width": 0}},
        "hovertemplate": "volume %{y:,}<extra></extra>",
    }


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.5)"


def _layout(height: int, header: list[str]) -> dict[str, Any]:
    axis = {"gridcolor": _GRID, "zeroline": False, "fixedrange": False}
    return {
        # An empty template: the picture does not depend on what the notebook has set as its default.
        "template": {},
        "title": {"text": " · ".join(header), "x": 0, "xref": "paper", "y": 1, "yref": "container", "yanchor": "top"}
        | {"pad": {"t": 10}, "font": {"size": 14}},
        "height": height,
        "margin": {"l": 8, "r": 84, "t": 52, "b": 52},
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "font": {"color": _TEXT, "size": 12},
        "showlegend": False,
        "dragmode": "pan",
        "hovermode": "x unified",
        "bargap": 0.25,
        "uirevision": " ".join(header[:3]),
        "xaxis": axis
        | {"type": "date", "rangeslider": {"visible": False}, "anchor": "y2", "showspikes": True}
        | {"spikemode": "across", "spikethickness": 1, "spikedash": "dot", "spikecolor": _TEXT},
        "modebar": {"bgcolor": _CLEAR, "color": _TEXT, "remove": ["select2d", "lasso2d"]},
        "yaxis": axis | {"domain": [0.22, 1], "side": "right", "automargin": True},
        "yaxis2": axis | {"domain": [0, 0.2], "side": "right", "rangemode": "tozero", "nticks": 4},
    }


def _empty() -> dict[str, Any]:
    hidden = {"visible": False}
    message = "No klines to draw: choose a range that the store covers, or wait for the first record."
    note = {"text": message, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    return {"annotations": [note], "xaxis": hidden, "yaxis": hidden, "yaxis2": hidden}


def _decimals(prices: list[float]) -> int:
    # As many as the finest price of the last bars has, up to the 8 of the exchanges.
    return max(len(f"{price:.8f}".rstrip("0").partition(".")[2]) for price in prices[-500:])


def _tick_decimals(bars: _Bars) -> int:
    # Labels are about a tenth of the span apart and have to differ.
    span = max(bars.high) - min(bars.low)
    apart = math.ceil(-math.log10(span / 10)) if span > 0 else 0
    return min(max(_decimals(bars.close), apart), _MOST_DECIMALS)


def _around(bars: _Bars) -> list[datetime]:
    # One bar has no neighbour that tells how long bars are.
    length = bars.ends[0] - bars.times[0]
    return [bars.times[0] - length, bars.ends[0] + length]


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def _last_price_line(bars: _Bars) -> dict[str, Any]:
    line = {"color": _TEXT, "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": bars.close[-1], "y1": bars.close[-1], "line": line}


def _last_price(bars: _Bars) -> dict[str, Any]:
    text = f"<b>{_number(bars.close[-1], _decimals(bars.close))}</b>"
    place = {"xref": "paper", "x": 1, "xanchor": "left", "yref": "y", "y": bars.close[-1]}
    return {"text": text, "showarrow": False, "bgcolor": "#ffffff", "bordercolor": _TEXT, "borderpad": 2} | place


def _change(bars: _Bars) -> dict[str, Any]:
    change = (bars.close[-1] / bars.open[0] - 1) * 100
    arrow = "▲" if change > 0 else "▼" if change < 0 else "■"
    text = f"{arrow} {change:+.2f} % since {bars.times[0]:%Y-%m-%d %H:%M} UTC"
    place = {"xref": "paper", "x": 1, "xanchor": "right", "yref": "paper", "y": 1, "yanchor": "bottom"}
    return {"text": text, "showarrow": False} | place


def _holes(bars: _Bars) -> list[dict[str, Any]]:
    holes = [time for end, time in zip(bars.ends, bars.times[1:], strict=False) if (time - end).total_seconds() > 1]
    line = {"color": "#e69f00", "width": 1, "dash": "dot"}
    place = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "name": "missing"}
    return [place | {"x0": time, "x1": time, "line": line} for time in holes[:_HOLES_SHOWN]]
