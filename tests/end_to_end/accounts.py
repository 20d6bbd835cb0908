"""The account of a case: what was received against what can be read afterwards.

Received is what the exchange sent: trades, quotes and book updates, read off its tape by nobody of ours. In the spool
is what a watch saw there. Both have to be in the store, once, with the same facts; so have klines, book snapshots and
gaps that were in the spool, which the exchange never sent as they are.
"""

import gzip
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .histories import History, doubled
from .spools import KEYS, Remembered, compare, read

__all__ = ["HEADER", "SENT", "Account", "account", "on_tape"]

SENT = ("trades", "quotes", "book_updates")
_WIDTHS = (46, 9, 9, 9, 5, 8, 5, 7)
_COLUMNS = ("case", "received", "in spool", "stored", "lost", "doubled", "gaps", "refused")
HEADER = " ".join(
    f"{name:>{width}}" if at else f"{name:{width}}"
    for at, (name, width) in enumerate(zip(_COLUMNS, _WIDTHS, strict=True))
)


class Account(NamedTuple):
    """One line. `refused` stand in the dead letters."""

    case: str
    received: int
    spooled: int
    stored: int
    lost: int
    doubled: int
    gaps: int
    refused: int

    def __str__(self) -> str:
        return " ".join(
            f"{value:>{width},}" if isinstance(value, int) else f"{value:{width}}"
            for value, width in zip(self, _WIDTHS, strict=True)
        )


def account(
    case: str, history: History, sent: Remembered, spooled: Remembered, refused: Iterable[tuple[str, Any]] = ()
) -> Account:
    """Count, after everything has come to rest.

    Args:
        case: what it is called.
        history: where it should be now.
        sent: what the exchange sent, by table and key, as far as that is known beside what was seen in the spool.
        spooled: what was seen in the spool.
        refused: tables and keys of what the store did not take.
    """
    stored = read(history.url)
    away = set(refused)
    lost = twice = 0
    for name in KEYS:
        wanted = {
            key: facts for key, facts in {**spooled[name], **sent.get(name, {})}.items() if (name, key) not in away
        }
        lost += len(wanted.keys() - stored[name].keys())
        twice += doubled(history, name)
        compare(stored[name], {key: facts for key, facts in wanted.items() if key in stored[name]})
    return Account(
        case,
        sum(len({**spooled[name], **sent.get(name, {})}) for name in SENT),
        sum(len(spooled[name]) for name in SENT),
        sum(len(stored[name]) for name in SENT),
        lost,
        twice,
        len(stored["gaps"]),
        len(away),
    )


@cache
def on_tape(tape: Path) -> Remembered:
    """What a tape of Binance holds, in the form of what is remembered of a spool."""
    sent: Remembered = {name: {} for name in SENT}
    with gzip.open(tape) as lines:
        for line in lines:
            frame = json.loads(line.partition(b" ")[2])
            if "stream" in frame:
                name, key, facts = _ROWS[frame["stream"].split("@")[1]](frame["data"])
                sent[name][key,] = facts
    return sent


def _trade(data: Any) -> Any:
    side = "sell" if data["m"] else "buy"
    return "trades", str(data["t"]), [data["T"] * 1_000, float(data["p"]), float(data["q"]), side]


def _quote(data: Any) -> Any:
    return "quotes", data["u"], [float(data[part]) for part in "bBaA"]


def _update(data: Any) -> Any:
    levels = [[[float(price), float(size)] for price, size in data[side]] for side in "ba"]
    return "book_updates", data["u"], [data["U"], data["E"] * 1_000, *levels]


_ROWS = {"trade": _trade, "bookTicker": _quote, "depth": _update}
