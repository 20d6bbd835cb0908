"""Bounds that lie where no InfluxDB has a time: all of it within them, and nothing."""

AROUND = [
    (None, "2300-01-01"),
    (None, "9999-12-31"),
    ("1677-01-01", None),
    ("0001-01-01", None),
    ("0001-01-01", "9999-12-31"),
    ("0001-01-01", "2030-01-01"),
]
BESIDE = [("2300-01-01", None), ("9999-01-01", "9999-12-31"), (None, "1600-01-01"), (None, "0001-01-01")]
