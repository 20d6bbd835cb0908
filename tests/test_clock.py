import asyncio
import time

import pytest

from marketlab.clock import Clock, ManualClock, SystemClock


def test_the_system_clock_tells_microseconds_and_never_runs_backwards() -> None:
    clock: Clock = SystemClock()
    before = time.time_ns() // 1000
    assert before <= clock.now() <= time.time_ns() // 1000
    assert clock.monotonic() <= clock.monotonic()
    asyncio.run(clock.sleep(0))


def test_a_manual_clock_moves_only_when_told() -> None:
    async def run() -> None:
        clock = ManualClock(now=1_000_000)
        assert (clock.now(), clock.monotonic()) == (1_000_000, 0.0)
        await clock.advance(2.5)
        assert (clock.now(), clock.monotonic()) == (3_500_000, 2.5)

    asyncio.run(run())


def test_sleepers_wake_in_the_order_of_their_deadlines_and_see_their_time() -> None:
    async def run() -> list[tuple[str, float]]:
        clock = ManualClock()
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, *naps: float) -> None:
            for nap in naps:
                await clock.sleep(nap)
                woken.append((name, clock.monotonic()))

        tasks = [asyncio.create_task(sleeper("slow", 5)), asyncio.create_task(sleeper("quick", 1, 1, 4))]
        await clock.advance(5)
        assert clock.sleepers == 1
        await clock.advance(1)
        await asyncio.gather(*tasks)
        return woken

    assert asyncio.run(run()) == [("quick", 1.0), ("quick", 2.0), ("slow", 5.0), ("quick", 6.0)]


def test_a_sleep_of_nothing_ends_at_once_and_a_cancelled_one_leaves_no_trace() -> None:
    async def run() -> None:
        clock = ManualClock()
        await clock.sleep(0)
        await clock.sleep(-1)
        task = asyncio.create_task(clock.sleep(10))
        await asyncio.sleep(0)
        assert clock.sleepers == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert clock.sleepers == 0
        await clock.advance(20)

    asyncio.run(run())
