from collections.abc import Iterator

import pytest

from marketlab.exchange_server import LocalExchange, Simulation
from marketlab.streams.live import LiveFeed


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    with LocalExchange(Simulation(), speed=20.0, start_after=0.1) as local:
        yield local


@pytest.fixture
def feed(exchange: LocalExchange) -> Iterator[LiveFeed]:
    with LiveFeed("BTCUSDT", ["trade", "quote"], ws_url=exchange.ws_url, rest_url=exchange.rest_url) as running:
        yield running
