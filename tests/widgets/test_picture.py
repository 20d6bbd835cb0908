"""The sheet of the static pictures, and how numbers are written on it."""

import pytest

from marketlab.widgets.picture import decimals_of, state_word


@pytest.mark.parametrize(
    ("step", "decimals"), [(10.0, 0), (1.0, 0), (0.5, 1), (0.05, 2), (0.3, 1), (1e-8, 8), (2.5e-7, 8), (100.0, 0)]
)
def test_decimals_of_a_step(step: float, decimals: int) -> None:
    assert decimals_of(step, 5) == decimals


def test_a_step_that_the_exchange_does_not_tell_has_usual_decimals() -> None:
    assert decimals_of(0.0, 5) == 5


@pytest.mark.parametrize(
    ("origin", "running", "connected", "word"),
    [
        ("stream", True, True, "live"),
        ("stream", True, False, "reconnecting"),
        ("stream", False, False, "stopped"),
        ("simulated", True, False, "simulated · reconnecting"),
        ("replay", False, True, "replay · stopped"),
        ("", True, False, "waiting"),
    ],
)
def test_the_state_in_a_picture(origin: str, running: bool, connected: bool, word: str) -> None:
    assert state_word(origin, running=running, connected=connected) == word
