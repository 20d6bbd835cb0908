"""A local exchange that speaks Binance's REST and WebSocket protocol from a tape or a simulation."""
