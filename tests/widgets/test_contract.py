import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlab.widgets.contract import HEADER_BYTES, ORIGIN_CODES, Flag, Frame, Kind, State, pack, unpack

NUMBERS = st.lists(st.floats(allow_nan=True), max_size=20)
FRAMES = st.builds(
    Frame,
    kind=st.sampled_from(Kind),
    counts=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    columns=st.lists(NUMBERS, max_size=4),
    id=st.integers(0, 2**53),
    flags=st.sampled_from([Flag(0), Flag.VERIFIED, Flag.LOADING | Flag.PARTIAL, Flag(255)]),
)
TIMES = st.integers(0, 2**52)


@given(FRAMES, st.integers(0, 2**40), st.sampled_from(State), st.sampled_from(ORIGIN_CODES), TIMES, TIMES, TIMES)
def test_what_goes_in_comes_out(
    frame: Frame, sequence: int, state: State, origin: str, oldest: int, newest: int, sent: int
) -> None:
    packed = pack(frame, sequence=sequence, state=state, origin=origin, oldest=oldest, newest=newest, sent=sent)
    back, words = unpack(packed)
    assert (back.kind, back.counts, back.id, back.flags) == (frame.kind, frame.counts, frame.id, frame.flags)
    numbers = [number for column in frame.columns for number in column]
    # Bit by bit, so that "no number" equals itself.
    assert struct.pack(f"<{len(numbers)}d", *numbers) == packed[HEADER_BYTES:]
    assert len(list(back.columns[0])) == len(numbers)
    assert words == {
        "state": state,
        "origin": ORIGIN_CODES.index(origin),
        "sequence": sequence % 2**32,
        "oldest": oldest,
        "newest": newest,
        "sent": sent,
    }


def test_every_byte_has_its_place() -> None:
    frame = Frame(Kind.WATCH, (2, 1), [(1.5, -2.0), iter([math.nan])], id=77, flags=Flag.VERIFIED | Flag.PARTIAL)
    packed = pack(frame, sequence=513, state=State.STOPPED, origin="simulated", oldest=10, newest=20, sent=30)
    assert packed[:4] == bytes([Kind.WATCH, State.STOPPED, 5, 1 | 4])
    assert packed[4:8] == bytes([1, 2, 0, 0])
    assert packed[8:16] == bytes([2, 0, 0, 0, 1, 0, 0, 0])
    assert struct.unpack("<4d", packed[16:48]) == (10, 20, 30, 77)
    assert packed[48:64] == struct.pack("<2d", 1.5, -2.0)
    assert len(packed) == HEADER_BYTES + 3 * 8


def test_an_empty_frame_is_a_header() -> None:
    assert len(pack(Frame(Kind.BLANK), sequence=1, state=State.WAITING)) == HEADER_BYTES


@pytest.mark.parametrize("length", [0, 47, 49, 55])
def test_bytes_that_are_no_frame(length: int) -> None:
    with pytest.raises(ValueError, match=f"{length} bytes are no frame"):
        unpack(bytes(length))
