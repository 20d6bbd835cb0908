"""How long a store is left alone, by what it said."""

from collections.abc import Iterator

import pytest

from marketlab.errors import StoreDenied, StoreUnavailable
from marketlab.stores.retrying import Patience, backoff


def growing() -> Iterator[float]:
    yield from (1.0, 2.0, 4.0)


def test_pauses_grow_until_they_are_renewed() -> None:
    patience = Patience(growing, denied=30.0)
    away = StoreUnavailable("away")
    assert [patience.pause(away) for _ in range(3)] == [1.0, 2.0, 4.0]
    patience.renew()
    assert patience.pause(away) == 1.0


@pytest.mark.parametrize(("asked", "seconds"), [(20.0, 20.0), (0.1, 1.0), (0.0, 1.0), (86_400.0, 3600.0), (-5.0, 1.0)])
def test_what_the_store_asks_for_is_heeded_within_reason(asked: float, seconds: float) -> None:
    assert Patience(growing, denied=30.0).pause(StoreUnavailable("busy", retry_after=asked)) == seconds


def test_whoever_is_denied_comes_back_slowly() -> None:
    patience = Patience(growing, denied=30.0)
    assert [patience.pause(StoreDenied("no")) for _ in range(2)] == [30.0, 30.0]
    assert patience.pause(StoreUnavailable("away")) == 1.0


def test_no_two_clients_come_back_together() -> None:
    first = [pause for pause, _ in zip(backoff(), range(20), strict=False)]
    second = [pause for pause, _ in zip(backoff(), range(20), strict=False)]
    assert first != second
    assert all(0.25 <= pause <= 30.0 for pause in (*first, *second))
