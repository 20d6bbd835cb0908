"""Plotly figures from tables."""
