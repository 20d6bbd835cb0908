"""What stores have already, so that a feed finds and fetches back what was missed while nobody collected.

Only what ends shortly before the exchange's own time counts. A store that has something newer (an old tape is
collected into it), or whose newest is long past, is left alone: there the feed begins anew, and nothing that comes
is taken for a double. The same holds where one side is simulated and the other is not. What still waits for a store in
its spool counts as stored, so a store that does not answer just now may be told of all the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from itertools import zip_longest
from pathlib import Path
from typing import Any, Self, TypeAlias

import polars as pl

from marketlab import tables
from marketlab.errors import StoreUnavailable, UnknownExchange, UnknownSymbol
from marketlab.exchanges import find
from marketlab.exchanges.contract import Subscription
from marketlab.lab.questions import answers
from marketlab.records import AggTrade, BookUpdate, Gap, Kline, Origin, Quote, Record, Trade
from marketlab.stores.contract import Store
from marketlab.stores.spool import read_segment, segments

__all__ = ["Newest", "remembered"]

Newest: TypeAlias = Trade | AggTrade | Kline | Quote | BookUpdate

_HOUR_US = 3_600_000_000
_SLACK_US = 1_000_000  # the exchange's clock and the times of its records come from different machines
_LATELY_US = 60_000_000  # where the newest nearly always is
_SPOOLED = 64_000_000  # bytes of a spool that are looked through, the newest first
_TABLES = {"trade": "trades", "agg_trade": "agg_trades"}
_UNFETCHABLE = {"quote": "quotes", "book": "book_updates"}


def remembered(
    stores: Iterable[Store],
    exchange: str,
    streams: Sequence[Subscription],
    now: int,
    origin: Origin,
    seconds: float,
    *,
    spools: Iterable[Path | None] = (),
    absent: Callable[[StoreUnavailable], None] | None = None,
    within: float = 20.0,
) -> list[Newest | Gap]:
    """The newest trade, closed kline, quote and so on of each stream, then the gaps before, for `Market.resume`.

    Where several stores have some, the one that is furthest behind decides. Where there are trades but no kline yet,
    as after a kill in the first minute, klines are owed from the first period that began after the first trade; where
    a store does not answer, from the period of the first trade that waits for it.

    Args:
        stores: where to look.
        exchange: whose records.
        streams: what will be streamed; symbols canonical.
        now: the exchange's time in microseconds.
        origin: where the exchange's answers come from.
        seconds: how long before `now` the newest record may lie, and how far back gaps are looked for.
        spools: for each store where records wait for it; None where a read sees them anyhow.
        absent: is told of a store that cannot be read, of which then only the spool counts.
        within: how many seconds the stores have to answer, since streams that could begin are held up meanwhile.

    Raises:
        StoreUnavailable: a store cannot be read, and nobody is to be told.
    """
    newest: dict[Subscription, Newest] = {}
    gaps: dict[tuple[Subscription, int], Gap] = {}
    begun: dict[str, int] = {}
    unsure: set[str] = set()
    looks = [_Look(store, spool, exchange, streams, now, seconds) for store, spool in zip_longest(stores, spools)]
    for look in _looked(looks, within, absent):
        for stream, record in look.newest(simulated=origin == "simulated").items():
            if stream not in newest or _place(record) < _place(newest[stream]):
                newest[stream] = record
        for name, gap in look.gaps.items():
            if gap.healed_at is None or name not in gaps:
                gaps[name] = gap
        for symbol, time in look.begun.items():
            begun[symbol] = min(time, begun.get(symbol, time))
            if not look.whole:
                unsure.add(symbol)
    for stream in streams:
        if stream not in newest and Subscription(stream.symbol, "trade") in newest and stream.symbol in begun:
            newest |= _owed(exchange, stream, begun[stream.symbol], now, unsure=stream.symbol in unsure)
    before = [gap for (stream, _), gap in gaps.items() if stream in newest and _is_before(gap, newest[stream])]
    return [*newest.values(), *before]


def _looked(
    looks: Sequence["_Look"], within: float, absent: Callable[[StoreUnavailable], None] | None
) -> Iterator["_Look"]:
    """The same ones when they have looked, all at once; those whose store does not answer in time know its spool alone."""
    for look in looks:
        # Before the store, so that nothing is missed while it moves from one into the other.
        look.at_spool()
    for look, answer in zip(looks, answers([look.with_store for look in looks], within), strict=True):
        try:
            yield answer.result(0)
        except TimeoutError:
            _tell(absent, StoreUnavailable(f"{look.url} does not say within {within:g} s what it has."))
            yield look
        except StoreUnavailable as error:
            _tell(absent, error)
            yield look


def _tell(absent: Callable[[StoreUnavailable], None] | None, error: StoreUnavailable) -> None:
    if absent is None:
        raise error
    absent(error)


class _Look:
    """Into one store and its spool, for the streams of one exchange, at the time from `seconds` ago until now.

    `gaps` are by stream and start; `begun` is by symbol the time of the first trade, where klines are missing; it is
    the `whole` truth where the store was asked, too.
    """

    def __init__(
        self,
        store: Store,
        spool: Path | None,
        exchange: str,
        streams: Sequence[Subscription],
        now: int,
        seconds: float,
    ) -> None:
        self.url = store.url
        self.gaps: dict[tuple[Subscription, int], Gap] = {}
        self.begun: dict[str, int] = {}
        self.whole = False
        self._newest: dict[Subscription, Newest] = {}
        self._store = store
        self._spool = spool
        self._exchange = exchange
        self._streams = frozenset(streams)
        self._since = now - round(seconds * 1_000_000)
        self._until = now + _SLACK_US
        self._lately = max(self._since, now - _LATELY_US)

    def newest(self, *, simulated: bool) -> dict[Subscription, Newest]:
        """By stream what ends neither too early nor too late, of one kind of origin."""
        return {
            stream: record
            for stream, record in sorted(self._newest.items(), key=lambda item: _order(item[0]))
            if self._since <= _end(record) <= self._until and (record.origin == "simulated") == simulated
        }

    def at_spool(self) -> None:
        """What waits for the store."""
        left = _SPOOLED
        for path in _latest_first(self._spool) if self._spool is not None else ():
            try:
                left -= path.stat().st_size
                records = read_segment(path).records
            except OSError:
                # The store has it in the meantime, or will be told when it is its turn.
                continue
            self._note(record for record in records if record.exchange == self._exchange)
            if left < 0:
                return

    def with_store(self) -> Self:
        """Another one that knows what is stored, too; raises StoreUnavailable where it cannot be read."""
        look = copy(self)
        look.gaps, look.begun, look._newest = dict(self.gaps), dict(self.begun), dict(self._newest)
        look.whole = True
        look._at_store()
        return look

    def _at_store(self) -> None:
        channels = {stream.channel for stream in self._streams}
        if any(channel.startswith("kline") for channel in channels):
            self._note(self._read("klines", start=self._since - self._longest()))
        for channel in ("trade", "agg_trade"):
            if channel in channels:
                self._look_for_trades(channel)
        for channel in _UNFETCHABLE:
            if channel in channels:
                self._look_for_last(channel)
        missing = self._streams - self._newest.keys()
        lacking = {stream.symbol for stream in missing if stream.channel.startswith("kline")}
        for symbol in sorted(lacking) if "trade" in channels else ():
            self._note_begin(symbol, self._first("trades", self._since, symbol))
        self._note(self._read("gaps", start=self._since, end=self._until + 1))

    def _look_for_trades(self, channel: str) -> None:
        name = _TABLES[channel]
        wanted = {stream for stream in self._streams if stream.channel == channel}
        self._note(self._read(name, start=self._lately, end=self._until + 1))
        for stream in sorted(wanted - self._newest.keys()):
            self._note(self._read(name, symbol=stream.symbol, start=self._since, end=self._lately))
        self._forget_what_is_ahead(name, wanted)

    def _forget_what_is_ahead(self, name: str, wanted: set[Subscription]) -> None:
        if self._first(name, self._until + 1) is not None:
            # Something is later than now: whose?
            for stream in sorted(wanted & self._newest.keys()):
                if self._first(name, self._until + 1, stream.symbol) is not None:
                    del self._newest[stream]

    def _look_for_last(self, channel: str) -> None:
        # Many come each second: only the last row of each symbol becomes a record.
        name = _UNFETCHABLE[channel]
        wanted = {stream for stream in self._streams if stream.channel == channel}
        self._note(self._last(name, start=self._lately, end=self._until + 1))
        for stream in sorted(wanted - self._newest.keys()):
            self._note(self._last(name, symbol=stream.symbol, start=self._since, end=self._lately))
        self._forget_what_is_ahead(name, wanted)

    def _last(self, name: str, **asked: Any) -> list[Any]:
        try:
            keys = self._store.read(name, exchange=self._exchange, columns=["symbol", "time"], **asked)
        except (UnknownExchange, UnknownSymbol):
            return []
        found: list[Any] = []
        for symbol, time in keys.group_by("symbol").agg(pl.col("time").max().cast(pl.Int64)).sort("symbol").iter_rows():
            found += self._read(name, symbol=symbol, start=time, end=time + 1)[-1:]
        return found

    def _note(self, records: Iterable[Record]) -> None:
        for record in records:
            if type(record) is Gap:
                self._note_gap(record)
            elif isinstance(record, Newest) and (not isinstance(record, Kline) or record.closed):
                stream = _stream(record)
                known = self._newest.get(stream)
                if stream in self._streams and (known is None or _place(known) < _place(record)):
                    self._newest[stream] = record
                if type(record) is Trade and record.time >= self._since:
                    self._note_begin(record.symbol, record.time)

    def _note_begin(self, symbol: str, time: int | None) -> None:
        if time is not None:
            self.begun[symbol] = min(time, self.begun.get(symbol, time))

    def _note_gap(self, gap: Gap) -> None:
        name = Subscription(gap.symbol, gap.channel), gap.start
        known = self.gaps.get(name)
        if self._since <= gap.start <= self._until and (known is None or known.healed_at is None):
            self.gaps[name] = gap

    def _longest(self) -> int:
        lengths = find(self._exchange).intervals
        return max(lengths.get(stream.channel.removeprefix("kline_"), 0) for stream in self._streams)

    def _read(self, name: str, **asked: Any) -> list[Any]:
        try:
            return tables.to_records(name, self._store.read(name, exchange=self._exchange, **asked))
        except (UnknownExchange, UnknownSymbol):
            return []

    def _first(self, name: str, start: int, symbol: str | None = None) -> int | None:
        """The time of the first row from a time on."""
        try:
            rows = self._store.batches(
                name, exchange=self._exchange, symbol=symbol, start=start, columns=["time"], rows=1
            )
            for table in rows:
                return int(table.get_column("time").cast(pl.Int64)[0]) if table.height else None
        except (UnknownExchange, UnknownSymbol):
            pass
        return None


def _latest_first(spool: Path) -> list[Path]:
    # Each writer numbers its own; in which order two of them wrote is told by their files.
    found = []
    for path in segments(spool):
        try:
            found.append((path.stat().st_mtime_ns, path))
        except OSError:
            continue
    return [path for _, path in sorted(found, reverse=True)]


def _order(stream: Subscription) -> tuple[int, Subscription]:
    return [*_TABLES, *_UNFETCHABLE, stream.channel].index(stream.channel), stream


def _end(record: Newest) -> int:
    return record.close_time if isinstance(record, Kline) else record.time


def _stream(record: Newest) -> Subscription:
    if isinstance(record, Kline):
        return Subscription(record.symbol, f"kline_{record.interval}")
    if isinstance(record, Quote | BookUpdate):
        return Subscription(record.symbol, "quote" if isinstance(record, Quote) else "book")
    return Subscription(record.symbol, "trade" if isinstance(record, Trade) else "agg_trade")


def _owed(exchange: str, stream: Subscription, begun: int, now: int, *, unsure: bool) -> dict[Subscription, Newest]:
    """The kline before the first one that a collector which began then should have; only its times count.

    Where it may have begun before, the period of that moment is owed, too.
    """
    interval = stream.channel.removeprefix("kline_")
    length = find(exchange).intervals.get(interval, 0)
    if not length or _HOUR_US % length:
        return {}
    start = (begun // length + (0 if unsure else 1)) * length
    if start >= now:
        return {}
    nothing = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, 0.0)
    kline = Kline(exchange, stream.symbol, interval, start - length, start - 1, *nothing, True, now, "rest")
    return {stream: kline}


def _place(record: Newest) -> tuple[int, int, str]:
    if isinstance(record, Kline):
        return record.open_time, 0, ""
    match record:
        case Trade():
            id = record.trade_id
        case AggTrade():
            id = record.agg_id
        case Quote():
            id = str(record.update_id)
        case BookUpdate():
            id = str(record.last_id)
    return record.time, len(id), id


def _is_before(gap: Gap, record: Newest) -> bool:
    if isinstance(record, Kline):
        return gap.end <= record.open_time
    _, length, id = _place(record)
    return gap.to_id is not None and (len(gap.to_id), gap.to_id) < (length, id)
