from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab.widgets.flow import BLIND_HZ, CREDITS, HEARTBEAT_S, Flow, Report, report_of

from .links import Moment, on_a_link

INF = float("inf")


def run(flow: Flow, start: float, end: float, *, dirty: bool = True, share_hz: float = INF) -> list[float]:
    """When frames go out where nobody reports."""
    sent, now = [], start
    while (due := flow.due(now, dirty=dirty, share_hz=share_hz)) is not None and max(due, now) < end:
        if due <= now:
            flow.sent(now)
            sent.append(now)
        else:
            now = due
    return sent


def heard(flow: Flow, start: float, end: float, share_hz: float = INF, *, frame_ms: float = 0.0) -> list[float]:
    """When frames go out to a page that reports four times a second."""
    sent = []
    for quarter in range(int(start * 4), int(end * 4)):
        now = quarter / 4
        flow.report(Report("page", ack=flow.sequence, wait_ms=5.0, frame_ms=frame_ms, painted=15), now)
        sent += run(flow, now, now + 0.25, share_hz=share_hz)
    return sent


def opened(rate: float = 60.0) -> Flow:
    flow = Flow(rate)
    flow.opened("page", 0.0)
    return flow


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


# 1. As fast as the rate, the screen and the share allow


@pytest.mark.parametrize(
    ("rate", "screen_hz", "share_hz", "expected"),
    [(60, 60, INF, 60), (30, 60, INF, 30), (120, 144, INF, 120), (60, 50, INF, 50), (60, 60, 24, 24), (60, 0, INF, 60)],
)
def test_the_slowest_of_rate_screen_and_share_counts(
    rate: float, screen_hz: float, share_hz: float, expected: float
) -> None:
    times = heard(opened(rate), 0, 4, share_hz, frame_ms=1000 / screen_hz if screen_hz else 0)
    assert len(times) == pytest.approx(4 * expected, abs=6)
    assert min(gaps(times)[1:]) == pytest.approx(1 / expected, rel=0.01)


def test_frames_that_go_out_together_take_the_share_of_as_many() -> None:
    flow = opened()
    flow.sent(0.0, frames=3)
    assert flow.due(0.0, dirty=True, share_hz=30) == pytest.approx(0.1)


def test_a_lower_rate_counts_from_the_next_frame_on() -> None:
    flow = opened()
    heard(flow, 0, 1)
    flow.rate = 5
    assert min(gaps(heard(flow, 1, 3))) == pytest.approx(0.2)
    flow.rate = 60
    assert len(heard(flow, 3, 4)) > 5


# 2. Credit


@pytest.mark.parametrize("rate", [2, 10, 60, 120])
def test_what_no_page_has_acknowledged_is_never_more_than_the_credit(rate: float) -> None:
    flow = opened(rate)
    for quarter in range(40):
        flow.report(Report("page", painted=1), quarter / 4)
        times = run(flow, quarter / 4, quarter / 4 + 0.25)
        if flow.sequence > CREDITS:
            assert len(times) <= 1
    # Beyond it, one a second says that the kernel is there.
    assert flow.sequence <= CREDITS + 10


def test_an_acknowledgement_gives_credit_back() -> None:
    flow = opened()
    for now in (0.0, 0.5):
        flow.report(Report("page"), now)
        run(flow, now, now + 0.5)
    assert run(flow, 1, 1.3) == []
    assert len(heard(flow, 2, 3)) > 50


# 3. Age


def test_the_rate_falls_by_factors_and_rises_by_steps() -> None:
    flow = opened()
    now, rates = 0.0, [flow.hz]
    for age in (200, 200, 900, 0, 0):
        now += 0.25
        flow.report(Report("page", age_ms=age, painted=5), now)
        rates.append(flow.hz)
    assert rates == [60, 45, 33.75, 16.875, 19.875, 22.875]


def test_the_rate_stays_between_two_a_second_and_the_wish() -> None:
    flow = opened(30)
    for age, limit in ((5000, 2), (0, 30)):
        for quarter in range(60):
            flow.report(Report("page", age_ms=age, painted=1), quarter / 4)
        assert flow.hz == limit


def slow_from_5_to_25(now: float) -> float:
    return 40e3 if 5 <= now < 25 else 10e6


@pytest.mark.parametrize("bytes_per_s", [lambda _: 40e3, slow_from_5_to_25], ids=["slow", "slow for a while"])
def test_no_queue_grows_on_a_slow_link(bytes_per_s: Callable[[float], float]) -> None:
    moments = list(on_a_link(25, bytes_per_s))
    assert max(moment.queue_s for moment in moments) < 0.5
    settled = [moment for moment in moments if moment.at > 10]
    assert max(moment.queue_s for moment in settled) < 0.35
    # 40 kB/s are 31 frames of 1.3 kB: most of the link is used.
    assert sum(moment.hz for moment in settled) / len(settled) > 20


def test_the_rate_comes_back_with_the_link() -> None:
    def first(moments: list[Moment], hz: float) -> float:
        return next(moment.at for moment in moments if moment.hz >= hz)

    moments = [moment for moment in on_a_link(40, slow_from_5_to_25) if moment.at >= 25]
    assert first(moments, 60) - 25 < 6
    assert moments[-1].hz == 60


# 4. Fail open


def test_frames_go_on_where_no_report_is_heard() -> None:
    flow = opened()
    times = run(flow, 0, 20)
    blind = [time for time in times if time > 1]
    assert min(gaps(blind)) == pytest.approx(1 / BLIND_HZ)
    assert len(blind) == pytest.approx(19 * BLIND_HZ, abs=2)


def test_being_blind_is_no_faster_than_the_link_was() -> None:
    flow = opened()
    for quarter in range(40):
        flow.report(Report("page", ack=flow.sequence, painted=1, age_ms=900), quarter / 4)
    assert flow.hz == 2
    assert min(gaps(run(flow, 12, 20))) == pytest.approx(0.5)


def test_being_blind_is_no_faster_than_the_rate_and_the_share() -> None:
    assert min(gaps(run(opened(2), 2, 20))) == pytest.approx(0.5)
    assert min(gaps(run(opened(), 2, 20, share_hz=4))[1:]) == pytest.approx(0.25)


def test_a_widget_that_was_shown_has_frames_before_its_page_can_speak() -> None:
    flow = Flow()
    flow.shown(0.0)
    assert len(run(flow, 0, 10)) > 90
    flow.opened("page", 10.0)
    flow.closed("page")
    assert not flow.open


def test_pages_that_could_have_been_heard_for_a_minute_are_not_there() -> None:
    flow = opened()
    assert not flow.silent(60.0)
    assert flow.silent(60.1)
    flow.abandon()
    assert flow.due(61.0, dirty=True) is None
    flow.report(Report("page"), 62.0)
    assert flow.whole
    assert flow.due(62.0, dirty=True) == 62.0


# 5. Nobody looks


def test_a_hidden_page_gets_a_frame_a_second_and_one_at_once_when_it_is_shown() -> None:
    flow = opened()
    flow.sent(0.0)
    now = 0.0
    times = []
    for now in range(1, 11):
        flow.report(Report("page", visible=False), now)
        times += run(flow, now, now + 1)
    assert not flow.watched
    assert gaps(times) == pytest.approx([HEARTBEAT_S] * (len(times) - 1))
    flow.report(Report("page"), 11.3)
    assert flow.due(11.3, dirty=False) == 11.3
    flow.sent(11.3)
    assert flow.due(11.3, dirty=True) == pytest.approx(11.3 + 1 / 60)


def test_where_there_is_no_page_nothing_is_sent() -> None:
    flow = Flow()
    assert flow.due(0.0, dirty=True) is None
    flow.opened("one", 0.0)
    flow.opened("other", 0.0)
    flow.closed("one")
    assert flow.due(0.0, dirty=True) is not None
    flow.closed("other")
    flow.closed("other")
    assert flow.due(0.0, dirty=True) is None


def test_a_page_that_went_without_a_word_is_not_looked_at_and_forgotten() -> None:
    flow = opened()
    flow.opened("reloaded", 1.0)
    for now in range(1, 6):
        assert flow.watched
        flow.report(Report("reloaded", visible=False), now)
    assert not flow.watched
    for now in range(6, 63):
        flow.report(Report("reloaded", visible=False), now)
    flow.closed("reloaded")
    assert not flow.open


def test_where_nothing_is_new_a_frame_a_second_says_that_all_is_well() -> None:
    assert gaps(run(opened(), 0, 10, dirty=False)) == pytest.approx([HEARTBEAT_S] * 9)


# 6. Phase


@pytest.mark.parametrize(("wait_ms", "later_ms"), [(13, 2), (5, 0), (1, -1), (500, 1000 / 120), (0, -1.25)])
def test_frames_are_moved_towards_five_milliseconds_before_the_paint(wait_ms: float, later_ms: float) -> None:
    flow = opened()
    flow.sent(0.0)
    flow.report(Report("page", wait_ms=wait_ms, frame_ms=1000 / 60, painted=1), 0.001)
    moved = flow.due(0.001, dirty=True) or 0.0
    assert moved == pytest.approx(1 / 60 + later_ms / 1000)
    flow.sent(moved)  # once for each report
    assert flow.due(moved, dirty=True) == pytest.approx(moved + 1 / 60)


def test_a_timer_that_fires_late_delays_no_later_frame() -> None:
    flow = opened()
    heard(flow, 0, 1)
    flow.report(Report("page", ack=flow.sequence, wait_ms=5), 1.0)
    first = now = flow.due(1.0, dirty=True) or 0.0
    for _ in range(5):
        flow.sent(now + 0.002)
        now = flow.due(now + 0.002, dirty=True) or 0.0
    assert now - first == pytest.approx(5 / 60)
    flow.sent(now + 0.009)
    assert flow.due(now + 0.009, dirty=True) == pytest.approx(now + 0.009 + 1 / 60)


# 7. Several pages


def test_the_highest_acknowledgement_counts() -> None:
    flow = opened()
    flow.sent(0.0, frames=20)
    flow.opened("other", 0.0)
    flow.sent(0.0, frames=20)
    flow.report(Report("other", ack=40), 0.1)
    flow.report(Report("page", ack=25), 0.2)
    assert flow.acknowledged == 40
    flow.report(Report("page", ack=10**9), 0.3)
    assert flow.acknowledged == flow.sequence


def reported(flow: Flow, quarters: range, *reports: Report) -> None:
    """The same reports in each quarter of a second."""
    for quarter in quarters:
        for place, report in enumerate(reports):
            flow.report(report, quarter / 4 + place / 100)


def two_pages() -> Flow:
    flow = opened()
    flow.opened("slow", 0.0)
    return flow


def test_the_youngest_picture_counts_while_its_page_speaks() -> None:
    flow, slow = two_pages(), Report("slow", painted=1, age_ms=900)
    reported(flow, range(40), Report("page", painted=1), slow)
    assert flow.hz == 60
    reported(flow, range(40, 80), slow)
    assert flow.hz == 2


def test_a_page_for_which_seconds_are_kept_back_slows_all_down() -> None:
    flow, quick = two_pages(), Report("page", painted=1)
    reported(flow, range(40), quick, Report("slow", painted=1, age_ms=2_500))
    assert flow.hz < 6
    reported(flow, range(40, 80), quick, Report("slow", painted=0, age_ms=0))
    assert flow.hz == 60


def test_a_page_that_has_painted_nothing_says_nothing_of_the_age() -> None:
    flow = two_pages()
    reported(flow, range(40), Report("page"), Report("slow"), Report("slow", painted=1, age_ms=900))
    assert flow.hz < 60


def test_a_view_that_opens_gets_everything_at_once() -> None:
    flow = opened()
    assert flow.whole
    heard(flow, 0, 1)
    assert not flow.whole
    flow.opened("page", 1.001)
    assert flow.whole
    assert flow.due(1.001, dirty=False) == 1.001
    assert flow.sent(1.001, frames=2) == flow.sequence - 1
    assert not flow.whole


# Whatever happens

EVENTS: st.SearchStrategy[tuple[str, float | str | Report]] = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 3)),
    st.tuples(st.just("open"), st.sampled_from("ab")),
    st.tuples(st.just("close"), st.sampled_from("ab")),
    st.tuples(
        st.just("report"),
        st.builds(
            Report,
            page=st.sampled_from("ab"),
            ack=st.integers(-5, 500),
            wait_ms=st.floats(0, 1e4),
            frame_ms=st.floats(0, 100),
            age_ms=st.floats(0, 1e4),
            painted=st.integers(0, 60),
            visible=st.booleans(),
        ),
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=30), st.sampled_from([1.0, 20.0, 60.0]), st.sampled_from([2.0, 24.0, INF]))
def test_whatever_happens_there_is_a_next_time_and_it_is_never_too_fast(
    events: list[tuple[str, float | str | Report]], rate: float, share_hz: float
) -> None:
    flow, now = Flow(rate), 0.0
    slowest = max(1 / share_hz, 1 / rate)
    for event, what in events:
        if isinstance(what, float):
            between = gaps(run(flow, now, now + what, share_hz=share_hz))
            # After one that went out late the next one is still on time.
            assert all(gap > slowest * 0.999 - 0.005 for gap in between)
            now += what
        elif isinstance(what, Report):
            flow.report(what, now)
        elif event == "open":
            flow.opened(what, now)
        else:
            flow.closed(what)
        due = flow.due(now, dirty=True, share_hz=share_hz)
        assert (due is not None) is flow.open
        assert due is None or due <= now + max(HEARTBEAT_S, 1.5 * slowest)


def test_a_report_is_read_as_the_browser_says_it() -> None:
    told = {"type": "report", "page": "p", "ack": 12, "wait_ms": 4, "age_ms": 1.5, "painted": 15, "visible": False}
    assert report_of(told) == Report("p", 12, 4.0, 0.0, 1.5, 15, visible=False)
    with pytest.raises(msgspec.ValidationError):
        report_of({"type": "report", "page": "p", "ack": "many"})
    with pytest.raises(msgspec.ValidationError):
        report_of({"type": "report"})
