"""Which rows of a batch change what a store holds, by the rule of `marketlab.tables`."""

from typing import NamedTuple

import polars as pl

from marketlab import tables

__all__ = ["RANKS", "Changes", "changes"]

RANKS: dict[str, tuple[str, ...]] = {
    "klines": ("closed", "trade_count"),
    "gaps": ("healed_at",),
    "tickers": ("trade_count",),
}
"""Columns that decide which of two rows with one key is the better one; elsewhere the first stays."""


class Changes(NamedTuple):
    """Rows whose key is new, and rows that are better than the stored row with their key."""

    new: pl.DataFrame
    better: pl.DataFrame

    @property
    def rows(self) -> int:
        """How many rows change something."""
        return self.new.height + self.better.height


def changes(name: str, held: pl.DataFrame, batch: pl.DataFrame) -> Changes:
    """What `batch` (unique by key) changes where `held` rows are stored: their key columns and ranks suffice."""
    key = list(tables.spec(name).key)
    if held.is_empty():
        return Changes(batch, batch.clear())
    new = batch.join(held, on=key, how="anti", maintain_order="left")
    if name not in RANKS or new.height == batch.height:
        return Changes(new, batch.clear())
    ranks = RANKS[name]
    old = held.select(*key, *(pl.col(column).alias(f"old_{column}") for column in ranks))
    both = batch.join(old, on=key, how="inner", maintain_order="left")
    if name == "klines":
        closes = pl.col("closed") & ~pl.col("old_closed")
        grows = (pl.col("closed") == pl.col("old_closed")) & (pl.col("trade_count") > pl.col("old_trade_count"))
        wins = closes | grows
    else:
        # There is something where there was nothing: a gap's healing, a full ticker's count.
        (filled,) = ranks
        wins = pl.col(filled).is_not_null() & pl.col(f"old_{filled}").is_null()
    return Changes(new, both.filter(wins).select(batch.columns))
