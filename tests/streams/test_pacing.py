import asyncio

import pytest

from marketlab.clock import ManualClock
from marketlab.errors import RateLimited
from marketlab.streams.pacing import Pace, Priority, WeightBudget, retry_after


def test_a_pace_lets_a_burst_through_and_then_waits() -> None:
    async def scenario() -> list[float]:
        clock = ManualClock()
        pace = Pace(3, 1.0, clock)
        times = []

        async def one() -> None:
            await pace.wait()
            times.append(clock.monotonic())

        tasks = [asyncio.create_task(one()) for _ in range(7)]
        for _ in range(3):
            await clock.advance(1.0)
        await asyncio.gather(*tasks)
        return times

    assert asyncio.run(scenario()) == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0]


def test_whoever_stops_waiting_counts_nothing() -> None:
    async def scenario() -> float:
        clock = ManualClock()
        pace = Pace(1, 1.0, clock)
        await pace.wait()
        gone = asyncio.create_task(pace.wait())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        last = asyncio.create_task(pace.wait())
        await clock.advance(1.0)
        await last
        return clock.monotonic()

    assert asyncio.run(scenario()) == 1.0


def test_weight_is_kept_for_those_who_need_it_most() -> None:
    async def scenario() -> list[str]:
        clock = ManualClock(now=0)
        budget = WeightBudget(100, clock)
        order = []

        async def spend(name: str, weight: int, priority: Priority) -> None:
            await budget.spend(weight, priority)
            order.append(name)

        await spend("first", 55, Priority.CHARTS)
        tasks = [
            asyncio.create_task(spend("chart", 10, Priority.CHARTS)),
            asyncio.create_task(spend("heal", 10, Priority.HEAL)),
            asyncio.create_task(spend("resync", 20, Priority.RESYNC)),
        ]
        await clock.advance(1.0)
        assert order == ["first", "heal", "resync"]
        assert budget.used == 85
        await clock.advance(60.0)
        await asyncio.gather(*tasks)
        assert budget.used == 10
        return order

    assert asyncio.run(scenario()) == ["first", "heal", "resync", "chart"]


def test_a_late_urgent_request_overtakes_one_that_waits_for_the_next_minute() -> None:
    async def scenario() -> list[str]:
        clock = ManualClock(now=0)
        budget = WeightBudget(100, clock)
        order = []

        async def spend(name: str, priority: Priority) -> None:
            await budget.spend(20, priority)
            order.append(name)

        budget.report(70)
        tasks = [asyncio.create_task(spend("chart", Priority.CHARTS))]
        await clock.advance(1.0)
        tasks.append(asyncio.create_task(spend("resync", Priority.RESYNC)))
        await clock.advance(1.0)
        assert order == ["resync"]
        await clock.advance(60.0)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()) == ["resync", "chart"]


def test_what_the_exchange_reports_counts_and_a_heavy_request_is_not_starved() -> None:
    async def scenario() -> None:
        clock = ManualClock(now=0)
        budget = WeightBudget(100, clock)
        budget.report(10)
        heavy = asyncio.create_task(budget.spend(99, Priority.RESYNC))
        await clock.advance(30.0)
        assert not heavy.done()
        await clock.advance(31.0)
        await heavy
        assert budget.used == 99

    asyncio.run(scenario())


def test_a_pause_holds_everybody_and_a_long_one_is_an_error() -> None:
    async def scenario() -> None:
        clock = ManualClock(now=0)
        budget = WeightBudget(100, clock)
        budget.pause(30.0)
        waiting = asyncio.create_task(budget.spend(1, Priority.RESYNC))
        await clock.advance(29.0)
        assert not waiting.done()
        await clock.advance(2.0)
        await waiting
        budget.pause(7200.0, banned=True)
        with pytest.raises(RateLimited, match=r"banned this address; next request in 7200 s\.") as caught:
            await budget.spend(1, Priority.RESYNC)
        assert caught.value.banned

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, 60.0), ("7", 7.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 60.0), ("", 60.0)]
)
def test_retry_after(header: str | None, seconds: float) -> None:
    assert retry_after(header, 60.0) == seconds
