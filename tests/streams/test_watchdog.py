from itertools import pairwise

from marketlab.exchanges.contract import Subscription
from marketlab.streams.watchdog import Watchdog

TRADES = Subscription("BTCUSDT", "trade")
KLINES = Subscription("BTCUSDT", "kline_1m")
SECOND = 1_000_000


def test_a_stream_that_speaks_is_left_alone() -> None:
    seen = {TRADES: 0}
    watchdog = Watchdog(seen.get, {"trade": 10.0})
    for now in range(0, 100, 5):
        seen[TRADES] = now * SECOND
        assert watchdog.silent([TRADES], now * SECOND) == ([], [])


def test_silence_is_answered_by_asking_again_and_then_by_a_new_connection() -> None:
    seen: dict[Subscription, int] = {}
    watchdog = Watchdog(seen.get, {"trade": 10.0})
    said = {now: watchdog.silent([TRADES], now * SECOND) for now in range(41)}
    told = {now: answer for now, answer in said.items() if answer != ([], [])}
    assert told == {10: ([TRADES], []), 20: ([], [TRADES]), 40: ([TRADES], [])}  # then with twice the patience


def test_a_word_from_the_stream_restores_the_first_patience() -> None:
    seen: dict[Subscription, int] = {}
    watchdog = Watchdog(seen.get, {"kline": 10.0})
    for now in (0, 10, 20):
        watchdog.silent([KLINES], now * SECOND)
    seen[KLINES] = 25 * SECOND
    assert watchdog.silent([KLINES], 26 * SECOND) == ([], [])
    assert watchdog.silent([KLINES], 34 * SECOND) == ([], [])
    assert watchdog.silent([KLINES], 35 * SECOND) == ([KLINES], [])


def test_patience_never_passes_an_hour_but_for_channels_that_ask_for_more() -> None:
    watchdog = Watchdog(dict[Subscription, int]().get, {"trade": 1000.0})
    times = []
    for now in range(0, 40_000, 10):
        if watchdog.silent([TRADES], now * SECOND) != ([], []):
            times.append(now)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) == 3600
    assert gaps == sorted(gaps)
