"""Nobody waits longer for an answer than it is worth, not even the end of the process."""

import subprocess
import sys
from threading import Event

import pytest

from marketlab.lab.questions import answers

PROGRAM = """
from threading import Event
from marketlab.lab.questions import answers
print([answer.done() for answer in answers([Event().wait], 0.05)])
"""


def test_answers_come_in_the_order_of_the_questions_and_errors_to_whoever_asked() -> None:
    def broken() -> int:
        raise KeyError("a bug")

    gate = Event()
    late, one, error = answers([lambda: int(gate.wait()), lambda: 1, broken], 0.2)
    assert not late.done()
    gate.set()
    assert (late.result(20.0), one.result(20.0)) == (1, 1)
    with pytest.raises(KeyError, match="a bug"):
        error.result(20.0)
    assert answers([], 0.0) == []


def test_a_process_ends_though_an_answer_never_comes() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("[False]\n", "", 0)
