"""Plotly figures from tables."""

from marketlab.charts.candles import candles

__all__ = ["candles"]
