import asyncio

import pytest

from marketlab.clock import ManualClock
from marketlab.errors import Rejected, UnreadableFrame
from marketlab.exchanges.contract import Subscription
from marketlab.market.market import Market, Need
from marketlab.records import Gap, Record, Trade
from marketlab.streams.hub import Hub
from marketlab.streams.intake import Intake


def trade(number: int) -> Trade:
    return Trade("binance", "BTCUSDT", str(number), number, 1.0, 1.0, "buy", number, "stream")


def test_records_are_judged_counted_and_passed_on() -> None:
    async def scenario() -> None:
        hub, needs, out = Hub(), list[Need](), list[Record]()
        hub.lossless(out.extend)
        intake = Intake(Market("binance"), hub, ManualClock(), needs.append)
        intake.accept([trade(1), trade(2), trade(2), trade(5)])
        assert [type(record) for record in out] == [Trade, Trade, Gap, Trade]
        assert [(need.kind, need.from_id, need.to_id) for need in needs] == [("trades", "3", "4")]
        assert intake.board.records == 4
        assert intake.last_seen(Subscription("BTCUSDT", "trade")) == 5
        assert intake.news.is_set()
        intake.news.clear()
        intake.accept([trade(5)])
        assert not intake.news.is_set()

    asyncio.run(scenario())


def test_an_exchange_that_counts_anew_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        intake = Intake(Market("binance"), Hub(), ManualClock(), lambda _: None)
        intake.accept([trade(100_000)])
        for start in range(1, 5_001, 500):
            intake.accept([trade(number) for number in range(start, start + 500)])

    asyncio.run(scenario())
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith("2000 records in a row are older than what came before, and left out.")


def test_nothing_comes_before_it_is_open_or_while_a_queue_is_full() -> None:
    async def scenario() -> None:
        hub = Hub()
        queue = hub.queue(limit=1)
        intake = Intake(Market("binance"), hub, ManualClock(), lambda _: None)
        assert not intake.has_room
        waiting = asyncio.create_task(intake.room())
        await asyncio.sleep(0)
        intake.open()
        await waiting
        assert intake.has_room
        intake.accept([trade(1)])
        assert not intake.has_room
        await queue.get()
        assert intake.has_room

    asyncio.run(scenario())


def test_silence_is_counted_from_the_last_record_on() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        intake = Intake(Market("binance"), Hub(), clock, lambda _: None)
        await clock.advance(5.0)
        intake.open()
        await clock.advance(2.0)
        assert intake.quiet_s == 2.0
        intake.accept([trade(1)])
        assert intake.quiet_s == 0.0

    asyncio.run(scenario())


def test_mishaps_are_counted_and_the_newest_unreadable_frames_kept() -> None:
    intake = Intake(Market("binance"), Hub(), ManualClock(), lambda _: None)
    for number in range(150):
        intake.unreadable(UnreadableFrame("nonsense", b"%d" % number))
    intake.mishap(Rejected(-1, "no"))
    intake.tape([b"1", b"2"], 5)
    assert (intake.unreadable_count, len(intake.unreadable_frames)) == (150, 100)
    assert intake.unreadable_frames[-1].frame == b"149"
    assert (intake.frames, intake.mishaps, str(intake.last_error)) == (
        2,
        1,
        "The exchange refused the request: no (code -1).",
    )
