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


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"port": 1.5}, "port is 1.5; give a number"),
        ({"speed": "x"}, "speed is 'x'; give a number"),
        ({"speed": None}, "speed is None; give a number"),
        ({"duration": float("nan")}, "The duration must be above 0 seconds, not nan"),
        ({"duration": "x"}, "duration is 'x'; give a number"),
        ({"start": None}, "start is None; write a date like 2024-08-09"),
        ({"symbols": ()}, "Name at least one symbol to simulate"),
        ({"symbols": "B!"}, "B!"),
        ({"symbols": ""}, "symbol"),
    ],
)
def test_what_no_exchange_can_be_made_of(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        local_exchange(simulate=True, **wrong)


def test_simulated_symbols_take_any_spelling() -> None:
    with (
        local_exchange(simulate=True, symbols=["btc/usdt", "ETH-USDT"], speed=20.0) as exchange,
        live("btc_usdt", "trade", exchange) as feed,
    ):
        feed.wait(trades=1)
        assert feed.symbol("eth_usdt") == "ETHUSDT"


def test_one_symbol_is_simulated_as_one() -> None:
    with (
        local_exchange(simulate=True, symbols="BTCUSDT", speed=20.0) as exchange,
        live("BTCUSDT", "trade", exchange) as feed,
    ):
        feed.wait(trades=1)
