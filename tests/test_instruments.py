import pytest

from marketlab.errors import UnknownSymbol, UsageError
from marketlab.instruments import Instrument, Instruments, canonical

LISTED = [
    Instrument("binance", "BTCUSDT", "BTCUSDT", "BTC", "USDT"),
    Instrument("binance", "ETHUSDT", "ETHUSDT", "ETH", "USDT"),
    Instrument("binance", "BTCUSDT-PERP", "BTCUSDT", "BTC", "USDT", "perpetual"),
]


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("btcusdt", "BTCUSDT"),
        (" btcusdt\n", "BTCUSDT"),
        ("BTC/USDT", "BTCUSDT"),
        ("btc-usdt", "BTCUSDT"),
        ("BTC_USDT", "BTCUSDT"),
        ("BTC/USDT:USDT", "BTCUSDT-PERP"),
        ("btcusdt-perp", "BTCUSDT-PERP"),
        ("BTC-USDT-PERP", "BTCUSDT-PERP"),
        ("1000SATS/USDT", "1000SATSUSDT"),
    ],
)
def test_spellings_that_people_use_mean_one_symbol(text: str, symbol: str) -> None:
    assert canonical(text) == symbol
    assert canonical(symbol) == symbol


@pytest.mark.parametrize("text", ["", "  ", "-", "BTC USDT", "BTC$", "../etc", "-PERP"])
def test_what_cannot_be_a_symbol_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is not a symbol; write it like BTCUSDT"):
        canonical(text)


def test_instruments_are_found_by_any_spelling() -> None:
    instruments = Instruments("binance", LISTED)
    assert instruments.find("btc/usdt").native == "BTCUSDT"
    assert instruments.find("BTC/USDT:USDT").kind == "perpetual"
    assert len(instruments) == 3
    assert [instrument.symbol for instrument in instruments] == ["BTCUSDT", "ETHUSDT", "BTCUSDT-PERP"]
    assert "ETHUSDT" in instruments
    assert "DOGEUSDT" not in instruments


def test_an_unknown_symbol_names_the_nearest_ones() -> None:
    with pytest.raises(UnknownSymbol, match=r"Unknown symbol 'BTCUSD' on binance\. Did you mean BTCUSDT") as caught:
        Instruments("binance", LISTED).find("BTCUSD")
    assert caught.value.nearest[0] == "BTCUSDT"
