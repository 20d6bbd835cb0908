"""Instruments and the spellings people use for them.

Canonical symbols are base and quote joined, upper case (`BTCUSDT`); perpetuals end in `-PERP`. Accepted from
people: `btcusdt`, `BTC/USDT`, `BTC-USDT`, `BTC_USDT` and ccxt's `BTC/USDT:USDT`.
"""

from collections.abc import Iterable, Iterator

import msgspec

from marketlab.errors import UnknownSymbol, UsageError

__all__ = ["Instrument", "Instruments", "canonical"]


class Instrument(msgspec.Struct, frozen=True):
    """What an exchange trades. `native` is the exchange's own spelling; `tick` and `step` are the smallest
    price and size differences (0 where unknown)."""

    exchange: str
    symbol: str
    native: str
    base: str = ""
    quote: str = ""
    kind: str = "spot"
    tick: float = 0.0
    step: float = 0.0
    trading: bool = True


def canonical(text: str) -> str:
    """The canonical form of a spelling, without asking whether such a symbol exists.

    Raises:
        UsageError: the text cannot be a symbol.
    """
    name = text.strip().upper()
    settle = ""
    if ":" in name:
        name, _, settle = name.partition(":")
    perpetual = name.endswith("-PERP")
    name = name.removesuffix("-PERP")
    joined = name.replace("/", "").replace("-", "").replace("_", "")
    if not joined or not joined.isalnum():
        raise UsageError(f"{text!r} is not a symbol; write it like BTCUSDT, BTC/USDT or BTC-USDT.")
    return f"{joined}-PERP" if perpetual or settle else joined


class Instruments:
    """An exchange's instrument list, found by any accepted spelling."""

    def __init__(self, exchange: str, instruments: Iterable[Instrument]) -> None:
        self.exchange = exchange
        self._by_symbol = {instrument.symbol: instrument for instrument in instruments}

    def __len__(self) -> int:
        return len(self._by_symbol)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._by_symbol

    def find(self, text: str) -> Instrument:
        """The instrument that a person means.

        Raises:
            UnknownSymbol: the exchange lists none; the error names the nearest ones.
        """
        symbol = canonical(text)
        found = self._by_symbol.get(symbol)
        if found is None:
            raise UnknownSymbol(text, self.exchange, self._by_symbol)
        return found
