"""A local exchange that speaks Binance's REST and WebSocket protocol from a tape or a simulation."""

from marketlab.exchange_server.faults import FAULTS
from marketlab.exchange_server.limits import Limits
from marketlab.exchange_server.local import LocalExchange
from marketlab.exchange_server.server import ORIGIN_HEADER, ExchangeServer
from marketlab.exchange_server.simulation import Simulation
from marketlab.exchange_server.source import Source, TapeSource

__all__ = ["FAULTS", "ORIGIN_HEADER", "ExchangeServer", "Limits", "LocalExchange", "Simulation", "Source", "TapeSource"]
