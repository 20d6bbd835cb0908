"""Everything that is known of the symbols of one exchange, and the records that are better than what came in.

Doubles of overlapping connections are dropped, books prove themselves, what is missing is named (`Gap`) and asked for
(`Need`), and books are recorded as snapshots. All of it follows from the records alone: the same records give the
same output, live and in a replay.

A book is recorded with its best levels a side

- at each resync: the loaded snapshot itself, at the time of the first update that was applied to it, so that the row
  does not depend on when the answer came;
- at the first applied update of each new period of `every_us` microseconds of exchange time.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from marketlab.market.bookkeeper import BookKeeper
from marketlab.market.continuity import Counts, IdContinuity, KlineContinuity, Need, Output
from marketlab.market.orderbook import OrderBook, Outcome
from marketlab.records import AggTrade, BookSnapshot, BookUpdate, Gap, Kline, Quote, Record, Ticker, Trade

__all__ = ["Counts", "Market", "Need", "Output"]

_SILENCE_US = 1_000_000  # quotes that were this long in coming need not be missing: their ids are not in sequence
_ID_RESET_US = 60_000_000  # a lower quote id that is a minute late is not a double: the exchange counts anew


class _Book:
    """A symbol's book and what is recorded of it."""

    def __init__(self, exchange: str, symbol: str, counts: Counts, depth: int, every_us: int) -> None:
        self.keeper = BookKeeper(exchange, symbol)
        self._counts = counts
        self._depth = depth
        self._every_us = every_us
        self._bucket = -1
        self._last_id = -1
        self._time = 0
        self._asked = False
        self._gap: Gap | None = None
        self._gap_start = -1
        self._loaded: BookSnapshot | None = None

    def update(self, update: BookUpdate) -> Sequence[Output]:
        if update.last_id <= self._last_id:
            if update.time <= self._time:
                self._counts.doubles += 1
                return ()
            self.keeper.book.discard()  # the exchange counts anew
            self._asked = False
        self._last_id, self._time = update.last_id, update.time
        outcome = self.keeper.apply(update)
        if outcome is Outcome.APPLIED:
            row = self._row(update)
            return (update,) if row is None else (update, row)
        if outcome is Outcome.HOLE:
            return (*self._hole(), update)
        if outcome is Outcome.HELD and not self._asked:
            self._asked = True
            return (*self.needs(), update)
        return (update,)

    def load(self, snapshot: BookSnapshot) -> Sequence[Output]:
        rows: list[Output] = []
        waiting, self._loaded = self._loaded, snapshot

        def applied(update: BookUpdate) -> None:
            row = self._row(update)
            if row is not None:
                rows.append(row)

        outcome = self.keeper.load(snapshot, applied)
        if outcome is Outcome.IGNORED or outcome is Outcome.STALE:
            self._loaded = waiting
            return self.needs()
        self._asked = False
        healed = self._healed(snapshot)
        return (*healed, *rows, *self._hole()) if outcome is Outcome.HOLE else (*healed, *rows)

    def needs(self) -> list[Need]:
        book = self.keeper.book
        return [Need("book", book.symbol, from_id=str(book.held[0].first_id))] if book.held else []

    def _row(self, update: BookUpdate) -> BookSnapshot | None:
        bucket = update.time // self._every_us
        loaded = self._loaded
        if loaded is None:
            if bucket == self._bucket:
                return None
            self._bucket = bucket
            return self.keeper.book.to_snapshot(self._depth, received=update.received, origin=update.origin)
        self._loaded = None
        self._bucket = bucket
        bids, asks = loaded.bids[: self._depth], loaded.asks[: self._depth]
        return msgspec.structs.replace(loaded, time=update.time, bids=bids, asks=asks, depth=self._depth)

    def _hole(self) -> list[Output]:
        book = self.keeper.book
        first = book.held[0]
        start = max(book.time, self._gap_start + 1)  # gaps are told apart by their start
        to_id = first.first_id - 1 if first.previous_id is None else first.previous_id
        self._gap = Gap(
            book.exchange,
            book.symbol,
            "book",
            start,
            max(first.time, start + 1),
            str(book.id + 1),
            str(to_id),
            "missing update ids",
            None,
            None,
            first.received,
            first.origin,
        )
        self._gap_start = start
        self._loaded = None
        self._asked = True
        self._counts.gaps += 1
        return [self._gap, *self.needs()]

    def _healed(self, snapshot: BookSnapshot) -> list[Output]:
        gap, self._gap = self._gap, None
        if gap is None:
            return []
        self._counts.healed += 1
        self._counts.resyncs += 1
        return [msgspec.structs.replace(gap, healed_at=snapshot.received, healed_from=snapshot.origin)]


class _Symbol:
    """One symbol: a method for each type of record."""

    def __init__(self, exchange: str, symbol: str, depth: int, every_us: int) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.counts = Counts()
        self.trades = IdContinuity(exchange, symbol, "trades", self.counts)
        self.agg_trades = IdContinuity(exchange, symbol, "agg_trades", self.counts)
        self.klines: dict[str, KlineContinuity] = {}
        self.book = _Book(exchange, symbol, self.counts, depth, every_us)
        self._quote: Quote | None = None
        self._tickers: dict[bool, int] = {}
        self._kept: dict[type[Any], Quote | BookUpdate] = {}

    def resume(self, kept: Quote | BookUpdate) -> None:
        """Remember what was the last before nobody looked, until the first that comes."""
        self._kept[type(kept)] = kept

    def absence(self, kept: Quote | BookUpdate, first: Quote | BookUpdate) -> Sequence[Gap]:
        """What is between what is kept and the first that comes: it cannot be fetched, only named."""
        channel, from_id, to_id = "quote", None, None
        if isinstance(kept, BookUpdate) and isinstance(first, BookUpdate):
            last = first.first_id - 1 if first.previous_id is None else first.previous_id
            if kept.last_id >= last:
                return ()
            channel, from_id, to_id = "book", str(kept.last_id + 1), str(last)
        elif first.time - kept.time < _SILENCE_US:
            return ()
        self.counts.gaps += 1
        start, end = kept.time + 1, max(first.time, kept.time + 2)
        told = (from_id, to_id, "nobody collected", None, None, first.received, first.origin)
        return (Gap(self.exchange, self.symbol, channel, start, end, *told),)

    def trade(self, trade: Trade) -> Sequence[Output]:
        return self.trades.accept(trade.trade_id, trade)

    def agg_trade(self, trade: AggTrade) -> Sequence[Output]:
        return self.agg_trades.accept(trade.agg_id, trade)

    def kline(self, kline: Kline) -> Sequence[Output]:
        return self.klines_of(kline.interval).accept(kline)

    def klines_of(self, interval: str) -> KlineContinuity:
        found = self.klines.get(interval)
        if found is None:
            found = self.klines[interval] = KlineContinuity(self.exchange, self.symbol, interval, self.counts)
        return found

    def quote(self, quote: Quote) -> Sequence[Output]:
        last = self._quote
        if last is None and (kept := self._kept.pop(Quote, None)) is not None:
            return (*self.absence(kept, quote), *self.quote(quote))
        if last is not None and quote.update_id <= last.update_id and quote.time < last.time + _ID_RESET_US:
            self.counts.doubles += 1
            return ()
        self._quote = quote
        self.book.keeper.quote(quote)
        return (quote,)

    def ticker(self, ticker: Ticker) -> Sequence[Output]:
        mini = ticker.trade_count is None
        if ticker.time <= self._tickers.get(mini, -1):
            self.counts.doubles += 1
            return ()
        self._tickers[mini] = ticker.time
        return (ticker,)

    def book_update(self, update: BookUpdate) -> Sequence[Output]:
        if self._kept and (kept := self._kept.pop(BookUpdate, None)) is not None:
            return (*self.absence(kept, update), *self.book.update(update))
        return self.book.update(update)

    def book_snapshot(self, snapshot: BookSnapshot) -> Sequence[Output]:
        return self.book.load(snapshot)

    def resume_gap(self, gap: Gap) -> None:
        kind, _, interval = gap.channel.partition("_")
        if kind == "kline":
            self.klines_of(interval).resume_gap(gap)
        elif gap.channel == "trade":
            self.trades.resume_gap(gap)
        elif gap.channel == "agg_trade":
            self.agg_trades.resume_gap(gap)

    def needs(self) -> Iterator[Need]:
        yield from self.book.needs()
        yield from self.trades.needs()
        yield from self.agg_trades.needs()
        for klines in self.klines.values():
            yield from klines.needs()


_METHODS: dict[type[Any], Callable[[_Symbol, Any], Sequence[Output]]] = {
    Trade: _Symbol.trade,
    AggTrade: _Symbol.agg_trade,
    Kline: _Symbol.kline,
    Quote: _Symbol.quote,
    Ticker: _Symbol.ticker,
    BookUpdate: _Symbol.book_update,
    BookSnapshot: _Symbol.book_snapshot,
    Gap: lambda _, gap: (gap,),
}


class Market:
    """The symbols of one exchange. Give every record to `accept`, in the order in which they came."""

    def __init__(self, exchange: str, *, depth: int = 100, every_us: int = 60_000_000) -> None:
        self.exchange = exchange
        self._depth = depth
        self._every_us = every_us
        self._symbols: dict[str, _Symbol] = {}

    def accept(self, record: Record) -> Sequence[Output]:
        """What is to be kept and fetched because of a record, in order.

        Trades, klines, quotes, tickers and book updates come back unless they are doubles. A snapshot of the
        exchange goes into its book and comes back only as the rows that are recorded of it. What is asked for is
        given to `accept` when it has arrived, like everything else.
        """
        symbol = self._symbols.get(record.symbol)
        if symbol is None:
            symbol = self._symbol(record.symbol)
        symbol.counts.messages += 1
        return _METHODS[type(record)](symbol, record)

    def resume(self, record: Trade | AggTrade | Kline | Quote | BookUpdate | Gap) -> None:
        """Tell what is kept already: the newest trade, closed kline, quote and so on of a symbol; gaps.

        To be told before the first record; what was missed since then is then found by that record. What gaps that
        are still open lack is among `needs` from then on; gaps of quotes and books are past.
        """
        symbol = self._symbol(record.symbol)
        if isinstance(record, Gap):
            symbol.resume_gap(record)
        elif isinstance(record, Kline):
            symbol.klines_of(record.interval).resume(record)
        elif isinstance(record, Quote | BookUpdate):
            symbol.resume(record)
        elif isinstance(record, Trade):
            symbol.trades.resume(record.trade_id, record.time)
        else:
            symbol.agg_trades.resume(record.agg_id, record.time)

    def book(self, symbol: str) -> OrderBook:
        """The symbol's book, to be read only; it has no levels and is not `verified` before its snapshot."""
        return self._symbol(symbol).book.keeper.book

    def counts(self) -> dict[str, Counts]:
        """What happened so far, by symbol."""
        return {name: self._counts(symbol) for name, symbol in self._symbols.items()}

    def needs(self) -> list[Need]:
        """Everything that is missing just now, for whoever lost an answer; each was returned by `accept` before."""
        return [need for symbol in self._symbols.values() for need in symbol.needs()]

    def _symbol(self, name: str) -> _Symbol:
        found = self._symbols.get(name)
        if found is None:
            found = self._symbols[name] = _Symbol(self.exchange, name, self._depth, self._every_us)
        return found

    def _counts(self, symbol: _Symbol) -> Counts:
        keeper = symbol.book.keeper
        return msgspec.structs.replace(symbol.counts, compared=keeper.compared, equal=keeper.equal)
