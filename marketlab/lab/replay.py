"""Runs tapes through the same pipeline as live frames, without sockets, as fast as it can.

What a live run asks of the exchange, a replay takes from the tape: REST answers that were recorded and, where a book
has no snapshot to come, a book that starts empty at its first update. Klines that are wanted and that the tape lacks
are built from its trades. So a replay gives the rows that the same tape gives through sockets, but for when and how
they were received.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from marketlab import tapes
from marketlab.errors import Rejected, TapeError, UnknownSymbol, UnreadableFrame, UsageError
from marketlab.exchange_server.frames import event_time, stream_of
from marketlab.exchange_server.klines import LATE
from marketlab.exchange_server.source import TapeSource, symbol_asked
from marketlab.exchanges import find
from marketlab.exchanges.contract import Connection, Fetch, Output, Reconnect, Request, Send, Subscription
from marketlab.market.candles import Candles, period
from marketlab.market.market import Counts, Market, Need
from marketlab.records import BookSnapshot, BookUpdate, Origin, Record, Trade
from marketlab.streams.hub import channel_of

__all__ = ["Replay"]

_BATCH = 2_000
_DEFAULT_INTERVAL = "1m"
_DAY = 86_400_000_000
_MARGIN = 60_000_000  # a trade from before a period shows that its beginning was seen


class Replay:
    """One or more tapes as records, played one after another as one stream.

    Args:
        paths: the tapes.
        channels: what to take of them; none: all that they hold, and one-minute klines where they hold none.
        symbols: canonical; none: all.
        exchange: whose frames they are.
        market: judges the records.
        earlier: gives the trades of a symbol that are kept already, from one microsecond until before another, so that
            the period in which a tape begins can be whole.

    Raises:
        UsageError: no tape is named, there is no frame on it, or a channel is wanted that it does not hold.
        TapeError: a tape is missing.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        channels: Iterable[str] = (),
        symbols: Iterable[str] = (),
        exchange: str = "binance",
        market: Market | None = None,
        earlier: Callable[[str, int, int], Sequence[Trade]] | None = None,
    ) -> None:
        self.lines = 0
        self.unreadable = 0
        self._source = TapeSource(*paths)
        self._exchange = find(exchange)
        self.exchange = self._exchange.name
        self._symbols = frozenset(symbols)
        self._earlier = earlier
        self.market = market or Market(self._exchange.name)
        self.origin: Origin = "simulated" if "simulated" in {tapes.origin(path) for path in paths} else "replay"
        self._session = self._exchange.session(Connection("", ()), self.origin)
        self._snapshots: Counter[str] = Counter()
        self._candles: dict[str, list[Candles]] = {}
        self.start = 0
        """Exchange time of the first event, in microseconds."""
        self._at = 0
        self._streams = self._look_through()
        self._require_symbols()
        self._channels, self._built = self._divide(frozenset(channels), {stream.channel for stream in self._streams})

    @property
    def streams(self) -> list[Subscription]:
        """What will come: the streams of the tapes that are wanted, and the klines that are built."""
        symbols = {stream.symbol for stream in self._streams if stream.channel == "trade" and self._built}
        built = {Subscription(symbol, f"kline_{interval}") for symbol in symbols for interval in self._built}
        wanted = {stream for stream in self._streams if stream.channel in self._channels} | built
        return sorted(stream for stream in wanted if not self._symbols or stream.symbol in self._symbols)

    def counts(self) -> dict[str, Counts]:
        """What happened so far, by symbol."""
        return self.market.counts()

    def batches(self) -> Iterator[list[Record]]:
        """The records in the order of the tapes, some thousand at a time.

        Raises:
            TapeError: a tape is broken; everything before the damage has been given, and the error names the line.
        """
        batch: list[Record] = []
        try:
            for line in self._source.lines():
                self.lines += 1
                self._at = line.received // 1000
                for output in self._outputs(line):
                    if not isinstance(output, Send | Fetch | Reconnect):
                        batch += self._taken(output)
                if len(batch) >= _BATCH:
                    yield batch
                    batch = []
        except TapeError:
            yield batch
            raise
        yield batch

    def _look_through(self) -> set[Subscription]:
        """Which streams there are, how many snapshots are to come, and when it starts."""
        names: set[bytes] = set()
        found: set[Subscription] = set()
        try:
            for line in self._source.lines():
                answer = tapes.answer(line.frame)
                if answer is not None:
                    request = self._request(answer.request)
                    self._snapshots[symbol_asked(answer.request)] += request is not None and request.kind == "depth"
                elif (name := stream_of(line.frame)) not in names:
                    names.add(name)
                    self.start = self.start or event_time(line.frame)
                    records = [output for output in self._outputs(line) if isinstance(output, Record)]
                    found.update(Subscription(record.symbol, channel_of(record)) for record in records)
        except TapeError:
            # A damaged tape is good up to the damage, which is told when it is reached.
            if not found:
                raise
        self.unreadable = 0
        if not found:
            raise UsageError(
                f"There is no frame of {self._exchange.name} on {', '.join(map(str, self._source.paths))}."
            )
        return found

    def _require_symbols(self) -> None:
        held = {stream.symbol for stream in self._streams}
        for symbol in sorted(self._symbols - held):
            raise UnknownSymbol(symbol, "the tape", held)

    def _divide(self, wanted: frozenset[str], held: set[str]) -> tuple[frozenset[str], list[str]]:
        """What is taken, and the intervals of klines that have to be built."""
        if not wanted:
            klines = any(channel.startswith("kline_") for channel in held) or "trade" not in held
            wanted = frozenset(held if klines else {*held, f"kline_{_DEFAULT_INTERVAL}"})
        missing = sorted(wanted - held)
        built = [channel.removeprefix("kline_") for channel in missing if channel.startswith("kline_")]
        unknown = [interval for interval in built if interval not in self._exchange.intervals]
        if unknown or len(built) < len(missing) or (built and "trade" not in held):
            raise UsageError(
                f"The tape holds no {', '.join(missing)}, only {', '.join(sorted(held))}; "
                f"klines ({', '.join(self._exchange.intervals)}) can be built from trades."
            )
        return wanted, built

    def _outputs(self, line: tapes.Line) -> Sequence[Output]:
        try:
            answer = tapes.answer(line.frame)
            if answer is None:
                return self._session.received(line.frame, self._at)
            request = self._request(answer.request)
            return () if request is None else self._session.answered(Fetch(request), answer.body, self._at)
        except (UnreadableFrame, Rejected):
            self.unreadable += 1
            return ()

    def _request(self, asked: str) -> Request | None:
        """The request that a recorded answer belongs to, out of those that bring records."""
        path, _, query = asked.partition("?")
        params = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
        symbol, interval = params.get("symbol", ""), params.get("interval", _DEFAULT_INTERVAL)
        exchange = self._exchange
        known = (
            exchange.snapshot_request(symbol),
            exchange.trades_request(symbol, "0"),
            exchange.agg_trades_request(symbol, "0"),
            exchange.klines_request(symbol, interval),
        )
        return next((request for request in known if request.path == path), None)

    def _taken(self, record: Record) -> Iterator[Record]:
        if self._symbols and record.symbol not in self._symbols:
            return
        wanted = channel_of(record) in self._channels
        if not wanted and not (self._built and isinstance(record, Trade)):
            return
        if isinstance(record, BookSnapshot):
            self._snapshots[record.symbol] -= 1
        for output in self._judged(record):
            if wanted:
                yield output
            if self._built:
                yield from self._klines(output)

    def _judged(self, record: Record) -> Iterator[Record]:
        for output in self.market.accept(record):
            if not isinstance(output, Need):
                yield output
            elif output.kind == "book" and not self._snapshots[output.symbol] and output.from_id is not None:
                start = int(output.from_id) - 1
                empty = BookSnapshot(
                    record.exchange, output.symbol, start, self._at, [], [], 0, True, self._at, self.origin
                )
                yield from self._judged(empty)

    def _klines(self, record: Record) -> Iterator[Record]:
        if isinstance(record, Trade):
            for candles in self._candles.get(record.symbol) or self._begin(record):
                for kline in candles.add(record):
                    yield from self._judged(kline)
        elif isinstance(record, BookUpdate):
            for candles in self._candles.get(record.symbol, ()):
                for kline in candles.advance(record.time - LATE):
                    yield from self._judged(kline)

    def _begin(self, first: Trade) -> list[Candles]:
        found = self._candles[first.symbol] = []
        for interval in self._built:
            length = self._exchange.intervals[interval]
            start, _ = period(interval, length, first.time)
            before = self._seamless(first, start)
            seen_from = before[0].time if before else self.start
            candles = Candles(self._exchange.name, first.symbol, interval, length, seen_from=seen_from)
            for trade in before:
                candles.add(trade)
            found.append(candles)
        return found

    def _seamless(self, first: Trade, start: int) -> list[Trade]:
        """The trades that are kept already from before `start` up to the first one of the tape, if none is missing."""
        if self._earlier is None or first.time - start > _DAY:
            return []
        before = self._earlier(first.symbol, start - _MARGIN, first.time + 1)
        ids = [int(trade.trade_id) for trade in (*before, first) if trade.trade_id.isdecimal()]
        whole = len(ids) > len(before) and ids == list(range(ids[0], ids[0] + len(ids)))
        return list(before) if whole and before and before[0].time < start else []
