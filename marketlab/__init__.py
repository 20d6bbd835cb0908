"""marketlab: the market-data lab for notebooks."""
