"""A line that carries less than the feed brings: the newest state is shown, and nothing piles up before it."""

import pytest

from marketlab.widgets.flow import BLIND_HZ, CREDITS

from .cells import PUMP, simulated
from .conftest import Opener
from .slow_link import SlowLink

pytestmark = pytest.mark.browser

RATE = 40_000
FLOW = f"{PUMP}.pump_of(feed).seats[0].flow"
# What the flow allows to be under way, and what goes on for a second in which no report comes.
MOST_UNDER_WAY = CREDITS + BLIND_HZ


def test_a_slow_link_shows_the_newest_and_grows_no_queue(notebook: Opener, slow_link: SlowLink) -> None:
    page = notebook(simulated(20.0), "ml.BookLadder(feed, 'BTCUSDT', depth=40)", at=slow_link.url)
    page.run()
    ladder = page.widget("book_ladder")
    ladder.wait_painted(20)
    slow_link.limit(RATE)
    under_way, ids = [], []
    for _ in range(10):
        ladder.wait_painted(10)
        sent = page.ask(f"{FLOW}.sequence")
        newest = ladder.last
        # What is on the screen, not what the flow has heard of it.
        under_way.append(sent - newest["sequence"])
        ids.append(newest["id"])
    assert max(under_way) <= MOST_UNDER_WAY, under_way
    assert ids == sorted(set(ids)), "each is newer than the one before"

    page.execute("flow = " + FLOW + "; feed.stop()")
    newest = page.ask("flow.sequence")
    ladder.until("(el, newest) => el.mlView.last.sequence === newest", newest)
