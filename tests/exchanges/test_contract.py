"""What every exchange promises, run for each that is installed."""

import pytest

from marketlab import exchanges
from marketlab.errors import UnreadableFrame, Unsupported
from marketlab.exchanges.contract import Connection, Exchange, Subscription


@pytest.fixture(params=exchanges.names())
def exchange(request: pytest.FixtureRequest) -> Exchange:
    return exchanges.find(str(request.param))


def every_channel(exchange: Exchange) -> list[str]:
    return sorted(exchange.channels - {"kline"}) + [f"kline_{interval}" for interval in exchange.intervals]


def test_what_it_offers_passes_its_own_check(exchange: Exchange) -> None:
    exchange.check(Subscription("BTCUSDT", channel) for channel in every_channel(exchange))


@pytest.mark.parametrize("channel", ["smoke", "kline_", "kline_7x", "kline", "TRADE"])
def test_what_it_lacks_is_one_clear_error(exchange: Exchange, channel: str) -> None:
    with pytest.raises(Unsupported, match="it offers"):
        exchange.check([Subscription("BTCUSDT", channel)])


def test_subscriptions_split_over_connections_without_loss_or_doubles(exchange: Exchange) -> None:
    wanted = [Subscription(f"COIN{n}USDT", channel) for n in range(150) for channel in every_channel(exchange)]
    connections = exchange.connections(wanted + wanted[:50])
    kept = [subscription for connection in connections for subscription in connection.subscriptions]
    assert sorted(kept) == sorted(wanted)
    for connection in connections:
        assert len(connection.subscriptions) <= exchange.limits.streams_per_connection
    assert exchange.connections([]) == []


@pytest.mark.parametrize(
    "frame", [b"", b"null", b"[]", b"{", b"7", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000]
)
def test_nonsense_is_an_unreadable_frame(exchange: Exchange, frame: bytes) -> None:
    session = exchange.session(Connection("", ()))
    with pytest.raises(UnreadableFrame) as caught:
        session.received(frame, 1)
    assert caught.value.frame == frame


def test_an_answer_that_is_nonsense_is_unreadable(exchange: Exchange) -> None:
    with pytest.raises(UnreadableFrame):
        exchange.answer(exchange.snapshot_request("BTCUSDT"), b"<html>", 1)
    with pytest.raises(UnreadableFrame):
        exchange.instruments(b'{"symbols":7}')
    with pytest.raises(UnreadableFrame):
        exchange.time(b"noon")
    assert exchange.refusal(502, b"<html>")[0] == 502
