from typing import Any

import msgspec

from marketlab.exchange_server.book import RunningBook, Snapshot
from marketlab.exchange_server.source import Listed

SNAPSHOT = Snapshot(10, [("99.0", "1.0"), ("98.0", "2.0"), ("97.0", "3.0")], [("101.0", "1.0"), ("102.0", "2.0")])


def book_with_snapshot() -> RunningBook:
    return RunningBook(Listed("BTCUSDT", snapshot=msgspec.json.encode(SNAPSHOT), first_id=8))


def test_before_its_release_it_answers_the_snapshot_of_the_source_as_it_is(events: Any) -> None:
    book = book_with_snapshot()
    assert not book.asked
    old, following = events.frame(events.depth(8, 10, 0)), events.frame(events.depth(11, 12, 0, [["99.0", "5.0"]]))
    assert [book.continues_snapshot(frame) for frame in (old, following, b"{")] == [False, True, False]
    book.keep(old)
    book.keep(following)
    assert book.answer(5000) == SNAPSHOT
    assert book.asked
    assert len(book.answer(1).bids) == 1
    book.release()
    assert book.answer(5000) == Snapshot(12, [("99.0", "5.0"), *SNAPSHOT.bids[1:]], SNAPSHOT.asks)


def test_without_a_snapshot_it_starts_empty_just_before_the_first_frame(events: Any) -> None:
    book = RunningBook(Listed("BTCUSDT", first_id=8))
    first = events.frame(events.depth(8, 9, 0, [["99.0", "1.0"], ["98.0", "0.00000000"]], [["100.0", "2.0"]]))
    assert book.continues_snapshot(first)
    book.keep(first)
    assert book.answer(100) == Snapshot(7, [], [])
    book.release()
    assert book.answer(100) == Snapshot(9, [("99.0", "1.0")], [("100.0", "2.0")])


def test_levels_are_changed_and_removed_and_old_frames_change_nothing(events: Any) -> None:
    book = book_with_snapshot()
    book.release()
    book.keep(events.frame(events.depth(11, 12, 0, [["99.0", "0.00000000"]], [["100.5", "7.0"], ["500.0", "0.0"]])))
    book.keep(events.frame(events.depth(9, 10, 0, [["98.0", "9.0"]])))
    book.keep(b"{broken")
    assert book.top(2) == Snapshot(12, [("98.0", "2.0"), ("97.0", "3.0")], [("100.5", "7.0"), ("101.0", "1.0")])


def test_a_later_snapshot_on_the_tape_replaces_the_book_an_older_one_does_not(events: Any) -> None:
    book = book_with_snapshot()
    book.release()
    book.keep(events.frame(events.depth(11, 12, 0)))
    book.load(b'{"lastUpdateId":12,"bids":[],"asks":[]}')
    book.load(b"{")
    assert book.top(1).bids == [("99.0", "1.0")]
    book.load(b'{"lastUpdateId":50,"bids":[["1.0","1.0"]],"asks":[]}')
    assert book.top(10) == Snapshot(50, [("1.0", "1.0")], [])
