"""Everything that can go wrong, split by whose fault it is and what to do next.

    MarketlabError
      UsageError              the caller's mistake: never retried
        UnknownExchange
        UnknownSymbol         names the nearest symbols
        Unsupported           the exchange or store cannot do this
        MissingDependency     says what to install
      ExchangeError           the exchange's side
        ConnectionLost        retried
        RateLimited           retried after `retry_after` seconds
        Rejected              the exchange said no: not retried
        UnreadableFrame       counted and kept aside; the stream goes on
      StoreError              the store's side
        StoreUnavailable      retried
          StoreDenied         the same, but waiting alone does not help: a setting is wrong
        WriteRejected         not retried; `rows` of the batch were refused
      TapeError               a tape is unreadable at `line` of `path`

Errors carry data and compose their message from it. Nobody sees a traceback for a wrong setting or an absent
server: the command line prints the message, which is one sentence that says what to do.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

__all__ = [
    "ConnectionLost",
    "ExchangeError",
    "MarketlabError",
    "MissingDependency",
    "RateLimited",
    "Rejected",
    "StoreDenied",
    "StoreError",
    "StoreUnavailable",
    "TapeError",
    "UnknownExchange",
    "UnknownSymbol",
    "UnreadableFrame",
    "Unsupported",
    "UsageError",
    "WriteRejected",
]


def _nearest(word: str, known: Iterable[str]) -> str:
    matches = get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f" Did you mean {', '.join(matches)}?" if matches else ""


class MarketlabError(Exception):
    """Any mistake or failure that marketlab reports on purpose."""


class UsageError(MarketlabError):
    """The caller's mistake; trying again changes nothing."""


class UnknownExchange(UsageError):
    """No exchange of this name is installed."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = sorted(known)
        super().__init__(f"Unknown exchange {name!r}. Known: {', '.join(self.known)}.")


class UnknownSymbol(UsageError):
    """The exchange lists no such symbol; `nearest` are the ones that look like it."""

    def __init__(self, symbol: str, exchange: str, known: Iterable[str]) -> None:
        self.symbol = symbol
        self.exchange = exchange
        names = list(known)
        self.nearest = get_close_matches(symbol, names, n=3, cutoff=0.5)
        super().__init__(f"Unknown symbol {symbol!r} on {exchange}.{_nearest(symbol, names)}")


class Unsupported(UsageError):
    """A capability that this exchange, store or engine declares not to have."""


class MissingDependency(UsageError):
    """An optional package is absent; the message holds the install line."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"{purpose} needs the package {package}: run pip install 'marketlab[{extra}]'.")


class ExchangeError(MarketlabError):
    """Something failed on the exchange's side of the line."""


class ConnectionLost(ExchangeError):
    """The exchange could not be reached or the connection broke; retried with backoff."""


class RateLimited(ExchangeError):
    """The exchange asks us to wait. `banned` is true for HTTP 418."""

    def __init__(self, retry_after: float, *, banned: bool = False) -> None:
        self.retry_after = retry_after
        self.banned = banned
        what = "banned this address" if banned else "asks us to slow down"
        super().__init__(f"The exchange {what}; next request in {retry_after:.0f} s.")


class Rejected(ExchangeError):
    """The exchange understood the request and refused it."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"The exchange refused the request: {reason} (code {code}).")


class UnreadableFrame(ExchangeError):
    """A frame that is not what the exchange documents; `frame` holds it as it came."""

    def __init__(self, reason: str, frame: bytes) -> None:
        self.reason = reason
        self.frame = frame
        super().__init__(f"Unreadable frame ({reason}): {frame[:120]!r}")


class StoreError(MarketlabError):
    """Something failed on the store's side."""


class StoreUnavailable(StoreError):
    """The store does not answer or has no room just now; the batch is kept and tried again."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class StoreDenied(StoreUnavailable):
    """The store says no to who asks or where to: a wrong token, a missing database, a server that is none of its kind.

    At the start it is the caller's mistake, told at once; in the middle of a run nothing is given up for it: the batch
    is kept and tried again, since somebody may mend the setting on the server.
    """


class WriteRejected(StoreError):
    """The store refuses rows for what they are; `rows` are their positions in the batch.

    Without `rows` the store does not say which; whoever wrote finds out by writing parts.
    """

    def __init__(self, message: str, *, rows: Sequence[int] = ()) -> None:
        self.rows = tuple(rows)
        super().__init__(message)


class TapeError(MarketlabError):
    """A tape cannot be read; `line` counts from 1 (0: the file itself)."""

    def __init__(self, path: Path | str, line: int, reason: str) -> None:
        self.path = Path(path)
        self.line = line
        self.reason = reason
        where = f"{path}, line {line}" if line else str(path)
        super().__init__(f"Unreadable tape {where}: {reason}.")
