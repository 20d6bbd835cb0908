from xml.etree import ElementTree as ET

import pytest

from marketlab.instruments import Instrument
from marketlab.widgets.book_picture import BookPicture, shown
from marketlab.widgets.contract import Flag, Frame, Kind, State, pack, unpack
from marketlab.widgets.picture import CVD, DEFAULT

BIDS = [(99.0, 2.0), (98.5, 3.0)]
ASKS = [(100.0, 1.0), (101.25, 4.0), (102.0, 0.5)]
TRADES = [(100.0, 0.5, 9.0), (98.5, -0.25, 8.0)]
INSTRUMENT = Instrument("x", "ABCD", "abcd", "AB", "CD", tick=0.01, step=0.001)


def frame(
    bids: list[tuple[float, float]],
    asks: list[tuple[float, float]],
    *,
    group: float = 0.0,
    trades: list[tuple[float, float, float]] = TRADES,
    flags: Flag = Flag.VERIFIED,
) -> Frame:
    best = [value for side in (bids, asks) for value in (side[0] if side else (0.0, 0.0))]
    columns = [[level[part] for level in side] for side in (bids, asks) for part in (0, 1)]
    values = [[price * size for price, size in side] for side in (bids, asks)] if group else []
    facts = [*best, 1200.0, 1200.0, group, 90.0, 110.0]
    told = [value for trade in trades for value in trade]
    return Frame(Kind.BOOK, (len(bids), len(asks)), [*columns, facts, *values, told], 77, flags)


def drawn(book: Frame | None, palette: str = "default") -> str:
    return BookPicture("x", "ABCD", "replay", book, INSTRUMENT, palette).svg()


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("group", [0.0, 0.5])
def test_a_frame_is_taken_apart_also_after_its_travel(group: float) -> None:
    book = frame(BIDS, ASKS, group=group)
    travelled, _ = unpack(pack(book, sequence=1, state=State.RUNNING))
    for told in (shown(book), shown(travelled)):
        assert (told.bids, told.asks, told.trades) == (BIDS, ASKS, TRADES)
        assert told.best == (99.0, 2.0, 100.0, 1.0)
        assert (told.compared, told.equal, told.group) == (1200, 1200, group)


def test_the_picture_is_the_ladder() -> None:
    told = words(drawn(frame(BIDS, ASKS)))
    prices = [text for text in told if text in {"102.00", "101.25", "100.00", "99.00", "98.50"}]
    assert prices == ["100.00", "100.00", "101.25", "102.00", "99.00", "98.50"]  # the header's last price is the first
    assert {"Size (AB)", "0.500", "5.500", "spread 1.00 · 100.50 bps", "99.667"} <= set(told)
    assert {
        "48% bids · 52% asks",
        "▲",
        "▼",
        "✓ verified · 1\u2009200 of 1\u2009200 of the exchange's quotes equal",
    } <= set(told)


def test_the_same_state_is_the_same_text_in_either_palette() -> None:
    book = frame(BIDS, ASKS)
    assert drawn(book) == drawn(book)
    assert DEFAULT.up in drawn(book)
    assert DEFAULT.up not in drawn(book, "cvd")
    assert CVD.down in drawn(book, "cvd")


def test_joined_levels_beyond_what_is_known_hold_at_least_so_much() -> None:
    told = words(drawn(frame([(99.0, 2.0), (80.0, 3.0)], [(100.0, 1.0), (120.0, 0.5)], group=1.0)))
    assert [text for text in told if text.startswith("≥")] == ["≥0.500", "≥1.500", "≥3.000", "≥5.000"]
    assert not any("≥" in text for text in words(drawn(frame([(99.0, 2.0), (80.0, 3.0)], ASKS))))


def test_joined_levels_have_the_decimals_of_their_step() -> None:
    told = words(drawn(frame([(98.5, 5.0)], [(100.0, 1.0), (101.5, 4.0)], group=0.5)))
    assert {"98.5", "100.0", "101.5", "in steps of 0.5 · id 77"} <= set(told)


@pytest.mark.parametrize(
    ("bids", "asks", "said"),
    [
        ([], [], {"no bids", "no asks"}),
        (BIDS, [], {"no asks"}),
        ([], ASKS, {"no bids"}),
        ([(101.0, 1.0)], ASKS, {"crossed by 1.00 · -99.50 bps"}),
    ],
)
def test_odd_books(bids: list[tuple[float, float]], asks: list[tuple[float, float]], said: set[str]) -> None:
    assert said <= set(words(drawn(frame(bids, asks))))


def test_a_book_that_is_not_verified_says_so() -> None:
    assert any(text.startswith("not verified") for text in words(drawn(frame(BIDS, ASKS, flags=Flag.LOADING))))


def test_without_a_book_it_says_so() -> None:
    assert "No book of ABCD yet." in words(drawn(None))


def test_many_levels_do_not_make_it_endless() -> None:
    deep = [(float(1000 - n), 1.0) for n in range(200)]
    few = [(float(1000 - n), 1.0) for n in range(20)]
    height = [ET.fromstring(drawn(frame(side, ASKS))).attrib["viewBox"] for side in (deep, few)]
    assert height[0] == height[1]
