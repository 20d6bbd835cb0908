"""What a notebook starts with takes what people write, and says in one sentence what it cannot take."""

from typing import Any

import pytest

from marketlab import live, local_exchange
from marketlab.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"symbols": 5}, "symbols are 5; give one as text"),
        ({"symbols": [None]}, r"symbols are \[None\]; give one as text"),
        ({"symbols": "BTCUSDT", "channels": 5}, "channels are 5; "),
        ({"symbols": "BTCUSDT", "exchange": 5}, "exchange is 5; give a name such as 'binance'"),
        ({"symbols": "BTCUSDT", "store": 5}, "store is 5; give a URL"),
        ({"symbols": "BTCUSDT", "ws_url": 5}, r"The setting ws_url from live\(\) is 5: "),
    ],
)
def test_what_no_feed_can_be_made_of(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        live(**arguments)


@pytest.mark.parametrize("port", [99_999, -1])
def test_a_port_that_there_cannot_be(port: int) -> None:
    with pytest.raises(UsageError, match=f"port is {port}; give a number from 0 to 65535"):
        local_exchange(simulate=True, port=port)


def test_one_symbol_is_simulated_as_one() -> None:
    with (
        local_exchange(simulate=True, symbols="BTCUSDT", speed=20.0) as exchange,
        live("BTCUSDT", "trade", exchange) as feed,
    ):
        feed.wait(trades=1)
