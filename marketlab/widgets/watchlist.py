"""Comes next."""

from marketlab.widgets.live import LiveWidget

__all__ = ["Watchlist"]


class Watchlist(LiveWidget):
    """Comes next."""

    module = "watchlist"
