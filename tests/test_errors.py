import inspect
from pathlib import Path

import pytest

from marketlab import errors


def test_everything_is_in_one_tree_and_exported() -> None:
    found = {
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert found == set(errors.__all__)
    assert all(issubclass(getattr(errors, name), errors.MarketlabError) for name in found)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.UnknownExchange("binanse", ["okx", "binance"]), "Unknown exchange 'binanse'. Known: binance, okx."),
        (errors.UnknownSymbol("XYZ", "binance", ["BTCUSDT"]), "Unknown symbol 'XYZ' on binance."),
        (
            errors.UnknownSymbol("BTCUSD", "binance", ["BTCUSDT", "DOGE"]),
            "Unknown symbol 'BTCUSD' on binance. Did you mean BTCUSDT?",
        ),
        (
            errors.MissingDependency("plotly", "notebook", "Drawing a chart"),
            "Drawing a chart needs the package plotly: run pip install 'marketlab[notebook]'.",
        ),
        (errors.RateLimited(12.4), "The exchange asks us to slow down; next request in 12 s."),
        (errors.RateLimited(60, banned=True), "The exchange banned this address; next request in 60 s."),
        (errors.Rejected(-1121, "Invalid symbol."), "The exchange refused the request: Invalid symbol. (code -1121)."),
        (errors.UnreadableFrame("not JSON", b"{"), "Unreadable frame (not JSON): b'{'"),
        (errors.TapeError("a.gz", 3, "no stamp"), "Unreadable tape a.gz, line 3: no stamp."),
        (errors.TapeError(Path("a.gz"), 0, "no such file"), "Unreadable tape a.gz: no such file."),
    ],
)
def test_errors_compose_one_sentence(error: Exception, message: str) -> None:
    assert str(error) == message


def test_errors_carry_their_data() -> None:
    assert errors.StoreUnavailable("away", retry_after=2.0).retry_after == 2.0
    assert errors.StoreUnavailable("away").retry_after is None
    assert errors.WriteRejected("no", rows=[1, 4]).rows == (1, 4)
    assert errors.WriteRejected("no").rows == ()
    assert errors.RateLimited(5).banned is False
    assert errors.Rejected(-1, "x").code == -1
    assert errors.TapeError("a", 2, "x").path == Path("a")
    assert errors.UnreadableFrame("x", b"y").frame == b"y"
    assert errors.MissingDependency("plotly", "notebook", "x").package == "plotly"


def test_a_long_frame_is_shown_in_part() -> None:
    assert len(str(errors.UnreadableFrame("long", b"x" * 10_000))) < 200


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        (errors.UnknownExchange, errors.UsageError),
        (errors.UnknownSymbol, errors.UsageError),
        (errors.Unsupported, errors.UsageError),
        (errors.MissingDependency, errors.UsageError),
        (errors.ConnectionLost, errors.ExchangeError),
        (errors.RateLimited, errors.ExchangeError),
        (errors.Rejected, errors.ExchangeError),
        (errors.UnreadableFrame, errors.ExchangeError),
        (errors.StoreUnavailable, errors.StoreError),
        (errors.WriteRejected, errors.StoreError),
    ],
)
def test_whose_fault_it_is_shows_in_the_tree(kind: type[Exception], side: type[Exception]) -> None:
    assert issubclass(kind, side)
