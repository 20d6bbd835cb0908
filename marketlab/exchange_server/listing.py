"""What the exchange knows of one symbol at the point of the tape that it has reached."""

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from marketlab.exchange_server.book import RunningBook
from marketlab.exchange_server.frames import number, units
from marketlab.exchange_server.klines import Candle, Klines
from marketlab.exchange_server.source import Listed
from marketlab.exchange_server.trades import MANY, Aggregates, Trades

__all__ = ["Listing", "Quote", "Statistics"]

_MINUTE = 60_000_000
_DAY = 1440 * _MINUTE
_QUOTED = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY", "USD")


class Quote(msgspec.Struct):
    """Best bid and ask as the bookTicker stream writes them."""

    b: str = "0.00000000"
    B: str = "0.00000000"
    a: str = "0.00000000"
    A: str = "0.00000000"


class _QuoteFrame(msgspec.Struct):
    data: Quote


class Statistics(msgspec.Struct):
    """A rolling window in whole units: what `ticker/24hr` and the ticker streams are written from."""

    opened: int
    closed: int
    open: int
    high: int
    low: int
    last: int
    last_size: int
    size: int
    quote: int
    count: int
    first_id: int
    last_id: int

    @property
    def vwap(self) -> int:
        """The average price, weighted by size."""
        return self.quote // self.size if self.size else 0

    @property
    def percent(self) -> str:
        """The change in percent, with the exchange's three decimals."""
        return f"{(self.last - self.open) * 100 / self.open:.3f}" if self.open else "0.000"


class Listing:
    """Trades, candles and book of one symbol. Frames go in through `trades.keep`, `book.keep` and `keep_quote`."""

    def __init__(self, listed: Listed, *, seen_from: int, history: Callable[[str], Sequence[Candle]]) -> None:
        self.symbol = listed.symbol
        self.decimals = listed.decimals
        self.trades = Trades()
        self.aggregates = Aggregates(self.trades)
        self.book = RunningBook(listed)
        self._quotes: deque[bytes] = deque(maxlen=1)
        self.keep_quote: Callable[[bytes], None] = self._quotes.append
        self._klines: dict[str, Klines] = {}
        self._seen_from = seen_from
        self._history = history

    @property
    def assets(self) -> tuple[str, str]:
        """Base and quote asset, told apart by the quote assets that are common."""
        for quote in _QUOTED:
            if self.symbol.endswith(quote) and self.symbol != quote:
                return self.symbol.removesuffix(quote), quote
        return self.symbol[:-3], self.symbol[-3:]

    @property
    def quote(self) -> Quote:
        """The newest best bid and ask: the exchange's own, or else the book's."""
        if self._quotes:
            try:
                return msgspec.json.decode(self._quotes[0], type=_QuoteFrame).data
            except msgspec.DecodeError:
                pass
        top = self.book.top(1)
        quote = Quote()
        if top.bids:
            quote.b, quote.B = top.bids[0]
        if top.asks:
            quote.a, quote.A = top.asks[0]
        return quote

    def settle_if_long(self) -> None:
        """Keep the heaps of undecoded frames small."""
        self.book.settle_if_long()
        if self.trades.pending > MANY:
            self.trades.settle()

    def klines(self, interval: str) -> Klines:
        """The candles of an interval, up to the newest trade."""
        self.trades.settle()
        klines = self._klines.get(interval)
        if klines is None:
            history = self._history(self.symbol)
            klines = Klines(interval, self.trades, seen_from=self._seen_from, history=history)
            self._klines[interval] = klines
        klines.settle()
        return klines

    def settled_aggregates(self) -> Aggregates:
        """The aggregate trades up to the newest trade."""
        self.trades.settle()
        self.aggregates.settle()
        return self.aggregates

    def last_price(self) -> int:
        """The price of the newest trade; 0 before the first one."""
        rows = self.klines("1m").rows
        return rows[-1].close if rows else 0

    def statistics(self, now: int, window: int = _DAY) -> Statistics | None:
        """The window that ends now, out of one-minute candles (so it opens on a minute); None before the first trade."""
        rows = self.klines("1m").rows
        since = now - window
        inside = [row for row in rows[-(window // _MINUTE + 1) :] if row.end > since]
        if not inside:
            return None
        traded = [row for row in inside if row.count] or inside
        ids = [row for row in inside if row.first_id >= 0]
        return Statistics(
            opened=max(since, inside[0].open_time),
            closed=now,
            open=traded[0].open,
            high=max(row.high for row in traded),
            low=min(row.low for row in traded),
            last=inside[-1].close,
            last_size=self.trades.sizes[-1] if len(self.trades) else 0,
            size=sum(row.size for row in inside),
            quote=sum(row.quote for row in inside),
            count=sum(row.count for row in inside),
            first_id=ids[0].first_id if ids else -1,
            last_id=ids[-1].last_id if ids else -1,
        )

    def information(self) -> dict[str, object]:
        """The symbol's entry in exchangeInfo."""
        base, quote = self.assets
        tick = number(units("1") // 10**self.decimals)
        return {
            "symbol": self.symbol,
            "status": "TRADING",
            "baseAsset": base,
            "baseAssetPrecision": 8,
            "quoteAsset": quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": ["LIMIT", "MARKET"],
            "icebergAllowed": False,
            "ocoAllowed": False,
            "quoteOrderQtyMarketAllowed": False,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
                {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
            ],
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "NONE",
            "allowedSelfTradePreventionModes": ["NONE"],
        }
