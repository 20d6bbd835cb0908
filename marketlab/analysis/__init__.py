"""Pure functions from a table to a table, the same on every engine."""

from marketlab.analysis.changes import price_change
from marketlab.analysis.resampling import resample
from marketlab.analysis.summaries import summary

__all__ = ["price_change", "resample", "summary"]
