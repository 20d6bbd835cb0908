import asyncio

from marketlab.clock import ManualClock
from marketlab.exchange_server.limits import Limits, Rate, Weights


def test_a_rate_counts_the_events_of_its_seconds() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        rate = Rate(5, 1.0, clock)
        assert [rate.exceeded() for _ in range(6)] == [False] * 5 + [True]
        await clock.advance(1.0)
        assert [rate.exceeded() for _ in range(5)] == [False] * 5
        await clock.advance(0.5)
        assert rate.exceeded()

    asyncio.run(scenario())


def test_weights_are_counted_by_the_minute_and_who_goes_on_is_banned_longer_each_time() -> None:
    async def scenario() -> None:
        clock = ManualClock()  # starts on a minute
        weights = Weights(Limits(weight_per_minute=100, forgiven_requests=2, ban_s=120), clock)
        await clock.advance(15)
        assert (weights.spend(60).status, weights.spend(40).status) == (200, 200)
        first = weights.spend(5)
        assert (first.status, first.used, first.retry_after) == (429, 105, 45)
        await clock.advance(0.5)
        assert weights.spend(5).retry_after == 45
        banned = weights.spend(5)
        assert (banned.status, banned.retry_after) == (418, 120)
        await clock.advance(100)
        assert (weights.spend(1).status, weights.spend(1).retry_after) == (418, 20)
        await clock.advance(20)
        fresh = weights.spend(5)
        assert (fresh.status, fresh.used) == (200, 5)
        again = [weights.spend(100) for _ in range(3)][-1]
        assert (again.status, again.retry_after) == (418, 240)

    asyncio.run(scenario())
