from itertools import islice

from marketlab.streams.backoff import Backoff


def test_delays_grow_to_the_ceiling_and_stay_there() -> None:
    delays = Backoff(first=1.0, factor=2.0, ceiling=5.0).delays(lambda: 0.0)
    assert list(islice(delays, 5)) == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_jitter_shortens_by_up_to_half() -> None:
    delays = Backoff(first=1.0, factor=1.0).delays(iter([0.0, 0.5, 0.999]).__next__)
    assert list(islice(delays, 3)) == [1.0, 0.75, 0.5005]


def test_an_endless_series_stays_finite() -> None:
    delays = Backoff().delays(lambda: 0.0)
    assert max(islice(delays, 5000)) == 30.0
