"""Pure state machines that turn records into better records: order books that prove themselves, candles, continuity."""
