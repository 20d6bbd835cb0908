"""What Binance sends, over streams and REST, and the records that it becomes.

Times are milliseconds, or microseconds where those were asked for; their size tells which.
"""

from collections.abc import Callable
from typing import Annotated, Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from marketlab.errors import UnreadableFrame, Unsupported
from marketlab.exchanges.contract import Request
from marketlab.instruments import Instrument
from marketlab.records import AggTrade, BookSnapshot, BookUpdate, Kline, Origin, Quote, Record, Side, Ticker, Trade

__all__ = ["READERS", "Build", "Head", "Wrapped", "answer", "head", "instruments", "refusal", "time"]

_MICROSECONDS = 100_000_000_000_000  # as milliseconds, this is the year 5138

# What is lax about text would also take "nan" and "inf"; no price or size is one.
_Number: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e300)]
_Signed: TypeAlias = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
_Sides: TypeAlias = list[tuple[_Number, _Number]]


def _names(pairs: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in pairs.split())


class _Trade(msgspec.Struct, gc=False, rename=_names("id:t price:p size:q time:T sold:m")):
    id: int
    price: _Number
    size: _Number
    time: int
    sold: bool


class _RestTrade(msgspec.Struct, gc=False, rename=_names("size:qty sold:isBuyerMaker")):
    id: int
    price: _Number
    size: _Number
    time: int
    sold: bool


class _AggTrade(msgspec.Struct, gc=False, rename=_names("id:a price:p size:q first:f last:l time:T sold:m")):
    id: int
    price: _Number
    size: _Number
    first: int
    last: int
    time: int
    sold: bool


_CANDLE = "open_time:t close_time:T interval:i open:o high:h low:l close:c volume:v quote_volume:q count:n closed:x"


class _Candle(msgspec.Struct, gc=False, rename=_names(_CANDLE + " buy_volume:V buy_quote_volume:Q")):
    # In the order of a REST row, whose last column means nothing.
    open_time: int
    open: _Number
    high: _Number
    low: _Number
    close: _Number
    volume: _Number
    close_time: int
    quote_volume: _Number
    count: int
    buy_volume: _Number
    buy_quote_volume: _Number
    interval: str
    closed: bool = False


class _RestCandle(_Candle, gc=False, array_like=True):
    pass


class _Kline(msgspec.Struct, gc=False, rename=_names("candle:k")):
    candle: _Candle


class _Quote(msgspec.Struct, gc=False, rename=_names("id:u bid:b bid_size:B ask:a ask_size:A")):
    id: int
    bid: _Number
    bid_size: _Number
    ask: _Number
    ask_size: _Number


class _Depth(msgspec.Struct, gc=False, rename=_names("time:E first_id:U last_id:u bids:b asks:a")):
    time: int
    first_id: int
    last_id: int
    bids: _Sides
    asks: _Sides


class _RestDepth(msgspec.Struct, gc=False, rename=_names("id:lastUpdateId")):
    id: int
    bids: _Sides
    asks: _Sides


_TICKER = "time:E last:c open:o high:h low:l volume:v quote_volume:q count:n vwap:w change:p change_percent:P"
_REST_TICKER = "time:closeTime last:lastPrice open:openPrice high:highPrice low:lowPrice quote_volume:quoteVolume"


class _Ticker(msgspec.Struct, gc=False, rename=_names(_TICKER)):
    time: int
    last: _Number
    open: _Number
    high: _Number
    low: _Number
    volume: _Number
    quote_volume: _Number
    count: int | None = None
    vwap: _Number | None = None
    change: _Signed | None = None
    change_percent: _Signed | None = None


class _RestTicker(
    msgspec.Struct,
    gc=False,
    rename=_names(_REST_TICKER + " vwap:weightedAvgPrice change:priceChange change_percent:priceChangePercent"),
):
    symbol: str
    time: int
    last: _Number
    open: _Number
    high: _Number
    low: _Number
    volume: _Number
    quote_volume: _Number
    count: int
    vwap: _Number
    change: _Signed
    change_percent: _Signed


class _Filter(msgspec.Struct, rename=_names("kind:filterType tick:tickSize step:stepSize")):
    kind: str
    tick: _Number = 0.0
    step: _Number = 0.0


class _Symbol(msgspec.Struct, rename=_names("base:baseAsset quote:quoteAsset")):
    symbol: str
    status: str
    base: str
    quote: str
    filters: list[_Filter]


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


class _Time(msgspec.Struct, rename=_names("time:serverTime")):
    time: int


class _Error(msgspec.Struct):
    code: int
    msg: str


class Head(msgspec.Struct, rename=_names("event:e symbol:s update_id:u")):
    """Whatever tells one kind of frame from another."""

    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    event: str | None = None
    symbol: str | None = None
    update_id: int | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: _Error | None = None
    code: int | None = None
    msg: str = ""


def _micro(time: int) -> int:
    return time if time >= _MICROSECONDS else time * 1000


def _micro_end(time: int) -> int:
    return time if time >= _MICROSECONDS else time * 1000 + 999


def _trade(symbol: str, data: _Trade | _RestTrade, at: int, origin: Origin) -> Trade:
    side: Side = "sell" if data.sold else "buy"
    return Trade("binance", symbol, str(data.id), _micro(data.time), data.price, data.size, side, at, origin)


def _agg_trade(symbol: str, data: _AggTrade, at: int, origin: Origin) -> AggTrade:
    id, first, last = str(data.id), str(data.first), str(data.last)
    side: Side = "sell" if data.sold else "buy"
    time = _micro(data.time)
    return AggTrade("binance", symbol, id, time, data.price, data.size, side, first, last, at, origin)


def _kline(symbol: str, data: _Kline, at: int, origin: Origin) -> Kline:
    return _candle(symbol, data.candle.interval, data.candle, data.candle.closed, at, origin)


def _candle(symbol: str, interval: str, data: _Candle, closed: bool, at: int, origin: Origin) -> Kline:
    return Kline(
        "binance",
        symbol,
        interval,
        _micro(data.open_time),
        _micro_end(data.close_time),
        data.open,
        data.high,
        data.low,
        data.close,
        data.volume,
        data.quote_volume,
        data.count,
        data.buy_volume,
        data.buy_quote_volume,
        closed,
        at,
        origin,
    )


def _quote(symbol: str, data: _Quote, at: int, origin: Origin) -> Quote:
    return Quote("binance", symbol, data.id, at, data.bid, data.bid_size, data.ask, data.ask_size, at, origin)


def _book_update(symbol: str, data: _Depth, at: int, origin: Origin) -> BookUpdate:
    time = _micro(data.time)
    return BookUpdate("binance", symbol, data.first_id, data.last_id, None, time, data.bids, data.asks, at, origin)


def _ticker(symbol: str, data: _Ticker | _RestTicker, at: int, origin: Origin) -> Ticker:
    return Ticker(
        "binance",
        symbol,
        _micro(data.time),
        data.last,
        data.open,
        data.high,
        data.low,
        data.volume,
        data.quote_volume,
        data.count,
        data.vwap,
        data.change,
        data.change_percent,
        at,
        origin,
    )


Build: TypeAlias = Callable[[str, Any, int, Origin], Record]
_Data = TypeVar("_Data")


class Wrapped(msgspec.Struct, Generic[_Data], gc=False):
    """A combined connection's frame."""

    data: _Data


class _Reader(NamedTuple):
    wrapped: Callable[[bytes], Wrapped[Any]]
    bare: Callable[[bytes], Any]
    build: Build


class _AnswerReader(NamedTuple):
    decode: Callable[[bytes], Any]
    build: Callable[[Request, Any, int, Origin], list[Record]]


def _reader(data: Any, build: Build) -> _Reader:
    wrapped = msgspec.json.Decoder(Wrapped[data], strict=False)
    return _Reader(wrapped.decode, msgspec.json.Decoder(data, strict=False).decode, build)


READERS = {
    "trade": _reader(_Trade, _trade),
    "aggTrade": _reader(_AggTrade, _agg_trade),
    "kline": _reader(_Kline, _kline),
    "bookTicker": _reader(_Quote, _quote),
    "depthUpdate": _reader(_Depth, _book_update),
    "24hrTicker": _reader(_Ticker, _ticker),
    "24hrMiniTicker": _reader(_Ticker, _ticker),
}
_exchange_info = msgspec.json.Decoder(_ExchangeInfo, strict=False).decode
_time = msgspec.json.Decoder(_Time).decode
_error = msgspec.json.Decoder(_Error).decode
head = msgspec.json.Decoder(Head).decode


def _decoded(decode: Callable[[bytes], Any], body: bytes) -> Any:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFrame(str(error), body) from error


def _depth_answer(request: Request, book: _RestDepth, at: int, origin: Origin) -> list[Record]:
    depth = int(dict(request.params)["limit"])
    return [BookSnapshot("binance", request.symbol, book.id, at, book.bids, book.asks, depth, True, at, origin)]


def _klines_answer(request: Request, rows: list[_Candle], at: int, origin: Origin) -> list[Record]:
    closed = [True] * (len(rows) - 1) + [origin == "rest" and _micro_end(row.close_time) < at for row in rows[-1:]]
    symbol, interval = request.symbol, request.interval
    return [_candle(symbol, interval, row, done, at, origin) for row, done in zip(rows, closed, strict=True)]


def _trades_answer(request: Request, rows: list[_RestTrade], at: int, origin: Origin) -> list[Record]:
    return [_trade(request.symbol, row, at, origin) for row in rows]


def _agg_trades_answer(request: Request, rows: list[_AggTrade], at: int, origin: Origin) -> list[Record]:
    return [_agg_trade(request.symbol, row, at, origin) for row in rows]


def _tickers_answer(_: Request, rows: list[_RestTicker] | _RestTicker, at: int, origin: Origin) -> list[Record]:
    return [_ticker(row.symbol, row, at, origin) for row in (rows if isinstance(rows, list) else [rows])]


def _answer_reader(rows: Any, build: Callable[[Request, Any, int, Origin], list[Record]]) -> _AnswerReader:
    return _AnswerReader(msgspec.json.Decoder(rows, strict=False).decode, build)


_ANSWERS = {
    "depth": _answer_reader(_RestDepth, _depth_answer),
    "klines": _answer_reader(list[_RestCandle], _klines_answer),
    "trades": _answer_reader(list[_RestTrade], _trades_answer),
    "agg_trades": _answer_reader(list[_AggTrade], _agg_trades_answer),
    "tickers": _answer_reader(_RestTicker | list[_RestTicker], _tickers_answer),
}


def answer(request: Request, body: bytes, at: int, origin: Origin) -> list[Record]:
    """The records in the body of a successful answer; see `Binance.answer`."""
    reader = _ANSWERS.get(request.kind)
    if reader is None:
        raise Unsupported(f"An answer to a request for {request.kind} holds no records.")
    return reader.build(request, _decoded(reader.decode, body), at, origin)


def time(body: bytes) -> int:
    """The exchange's time; see `Binance.time`."""
    told: _Time = _decoded(_time, body)
    return _micro(told.time)


def instruments(body: bytes) -> list[Instrument]:
    """Every symbol of an exchangeInfo answer; see `Binance.instruments`."""
    info: _ExchangeInfo = _decoded(_exchange_info, body)
    return [_instrument(symbol) for symbol in info.symbols]


def _instrument(symbol: _Symbol) -> Instrument:
    filters = {filter.kind: filter for filter in symbol.filters}
    tick, step = filters.get("PRICE_FILTER", _Filter("")).tick, filters.get("LOT_SIZE", _Filter("")).step
    base, quote, trading = symbol.base, symbol.quote, symbol.status == "TRADING"
    return Instrument("binance", symbol.symbol, symbol.symbol, base, quote, tick=tick, step=step, trading=trading)


def refusal(status: int, body: bytes) -> tuple[int, str]:
    """The code and words of an error answer; see `Binance.refusal`."""
    try:
        error: _Error = _decoded(_error, body)
    except UnreadableFrame:
        return status, body[:200].decode(errors="replace")
    return error.code, error.msg
