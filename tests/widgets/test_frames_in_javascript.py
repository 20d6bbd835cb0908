"""Frames that Python has packed, read by the JavaScript that draws them."""

import json
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from marketlab.widgets.contract import ORIGIN_CODES, Flag, Frame, Kind, State, pack

SOURCES = Path(__file__).resolve().parents[2] / "js" / "src"
READER = """
import { readFileSync } from "node:fs";
const { Flag, Kind, State, decode } = await import(process.argv[1]);
const frames = process.argv.slice(2).map((path) => decode(new Uint8Array(readFileSync(path)).buffer));
const told = frames.map((frame) => ({ ...frame, numbers: [...frame.numbers].map(String) }));
console.log(JSON.stringify({ frames: told, Flag, Kind, State }));
"""
NUMBERS = [0.1, -0.0, 61234.5, 1e-9, 2.0**53, math.nan, math.inf, -math.inf]
FRAMES = [
    Frame(kind, (number, 2**32 - 1 - number), [NUMBERS[:number], NUMBERS[number:]], id=2**53 - number, flags=flags)
    for number, (kind, flags) in enumerate(
        [*((kind, Flag(0)) for kind in Kind), (Kind.BOOK, Flag.VERIFIED), (Kind.BARS, Flag(255))]
    )
]
TIME = 1_723_161_600_123_456


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, absent: Callable[[str, str], NoReturn]) -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        absent("node", "Node is not installed")
    folder = tmp_path_factory.mktemp("frames")
    paths = []
    for number, frame in enumerate(FRAMES):
        paths.append(folder / f"{number}.frame")
        paths[-1].write_bytes(packed(number, frame))
    command = [node, "--input-type=module", "--eval", READER, (SOURCES / "frame.js").as_uri(), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def packed(number: int, frame: Frame) -> bytes:
    return pack(
        frame,
        sequence=2**32 - 5 + number,
        state=list(State)[number % len(State)],
        origin=ORIGIN_CODES[number % len(ORIGIN_CODES)],
        oldest=TIME + number,
        newest=TIME + 2 * number,
        sent=TIME + 3 * number,
    )


def in_javascript(number: float) -> str:
    words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity", "-0.0": "0", "1e-09": "1e-9"}
    return words.get(str(number), str(number).removesuffix(".0"))


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_javascript_reads_what_python_wrote(told: dict[str, Any], number: int) -> None:
    frame = FRAMES[number]
    assert told["frames"][number] == {
        "kind": frame.kind,
        "state": list(State)[number % len(State)],
        "origin": ORIGIN_CODES[number % len(ORIGIN_CODES)],
        "flags": frame.flags,
        "sequence": (2**32 - 5 + number) % 2**32,
        "counts": list(frame.counts),
        "oldest": TIME + number,
        "newest": TIME + 2 * number,
        "sent": TIME + 3 * number,
        "id": frame.id,
        "numbers": ["9007199254740992" if one == 2.0**53 else in_javascript(one) for one in NUMBERS],
    }


@pytest.mark.parametrize("words", [Kind, State, Flag], ids=lambda words: words.__name__)
def test_both_have_the_same_words(told: dict[str, Any], words: Any) -> None:
    assert told[words.__name__] == {word.name: word.value for word in words}
