"""Cuts a long time into stretches of about equal numbers of rows, going by the statistics of files."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

__all__ = ["cuts"]


def cuts(spans: Sequence[tuple[int, int, int]], rows: int, start: int | None, end: int | None) -> Iterator[int]:
    """Moments between `start` and `end`, rising, with about `rows` rows from each to the next.

    `spans` are the files: first time, last time, rows; the rows of a file are taken to be spread evenly.
    """
    if not spans:
        return
    first = min(low for low, _, _ in spans)
    last = max(high for _, high, _ in spans) + 1
    at = first if start is None else max(first, start)
    stop = last if end is None else min(last, end)

    def before(moment: int) -> float:
        return sum(_share(span, moment) for span in spans)

    while at < stop:
        at = bisect_left(range(at + 1, stop), before(at) + rows, key=before) + at + 1
        if at < stop:
            yield at


def _share(span: tuple[int, int, int], moment: int) -> float:
    low, high, rows = span
    return rows * min(1.0, max(0.0, (moment - low) / (high + 1 - low)))
