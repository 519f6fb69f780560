"""The rolling window: even arrivals, and how long an outage poisons it."""

import io

import pytest
from rich.console import Console

from probe_ext.inspection.scout.board_view import board
from probe_ext.inspection.scout.cheats import Suspicion
from probe_ext.inspection.scout.leaderboard import State, ranked
from probe_ext.inspection.scout.rolling_window import ProbeResult, RollingWindow
from probe_ext.inspection.scout.scout_output import PlainLines, leaderboard
from probe_ext.inspection.scout.watch import _with_slots

WINDOW, EVERY = 900.0, 30.0


def probe(start: float, answered: int = 16, *, seconds: float = 4.0, slots: int = 1) -> ProbeResult:
    return ProbeResult(start, start + seconds, 16, answered, answered * 64, (0.1,) * answered, None, slots)


def test_five_minutes_down_in_fifteen_are_a_third_until_they_leave_the_window() -> None:
    window = RollingWindow(WINDOW)
    rates = {}
    for n in range(100):
        start = n * EVERY
        down = 1200 <= start < 1500
        window.add(probe(start, 0 if down else 16, seconds=0.1 if down else 4.0))
        rates[start] = window.figures().error_rate
    assert rates[1500.0] == pytest.approx(1 / 3)
    assert max(rate or 0 for rate in rates.values()) == pytest.approx(1 / 3)
    assert rates[1170.0] == 0
    assert rates[2340.0] == pytest.approx(1 / 30)  # the last failed probe is still in it
    assert rates[2370.0] == 0


def test_an_outage_says_when_its_errors_leave() -> None:
    window = RollingWindow(WINDOW)
    for start in (0.0, 30.0, 60.0):
        window.add(probe(start, 16 if start == 0 else 0, seconds=1.0))
    (outage,) = window.outages
    assert (outage.since, outage.until, outage.leaves) == (30.0, None, None)
    window.add(probe(90.0))
    (outage,) = window.outages
    assert (outage.since, outage.until, outage.leaves) == (30.0, 90.0, 61.0 + WINDOW)
    window.expire(61.0 + WINDOW)
    assert window.outages == []
    assert window.figures().error_rate == 0


def test_a_probe_that_overruns_stands_for_the_time_that_it_took() -> None:
    """Two minutes of timeouts weigh as much as four quick probes."""
    window = RollingWindow(WINDOW)
    slow = _with_slots(probe(0.0, 0, seconds=118.0), due=0.0, every=EVERY)
    assert slow.slots == 4
    window.add(slow)
    for start in (120.0, 150.0, 180.0, 210.0):
        window.add(probe(start))
    assert window.figures().error_rate == pytest.approx(0.5)


def test_figures_are_over_the_time_of_probes_that_were_answered() -> None:
    window = RollingWindow(WINDOW)
    window.add(probe(0.0))
    window.add(probe(30.0, 8))
    window.add(probe(60.0, 0, seconds=10.0))
    figures = window.figures()
    assert figures.rps == pytest.approx(24 / 8)
    assert figures.tokens_per_s == pytest.approx(24 * 64 / 8)
    assert figures.error_rate == pytest.approx((0 + 0.5 + 1) / 3)
    assert (figures.ttft_p50, figures.requests) == (0.1, 48)


def test_the_sixteen_answers_of_one_probe_have_no_p95() -> None:
    window = RollingWindow(WINDOW)
    window.add(probe(0.0))
    assert (window.figures().ttft_p50, window.figures().ttft_p95) == (0.1, None)
    window.add(probe(30.0))
    assert window.figures().ttft_p95 == pytest.approx(0.1)


@pytest.mark.parametrize(("probes", "shown"), [(1, False), (2, True)])
def test_the_board_shows_p95_once_there_is_one(probes: int, shown: bool) -> None:
    rows = board(ranked([state("http://a", *[16] * probes)]), lambda _: "", WINDOW)
    assert ("p95" in PlainLines().line("now", rows[0])) is shown
    console = Console(file=io.StringIO(), width=120)
    console.print(leaderboard(rows, ""))
    assert ("p95" in console.file.getvalue()) is shown


def test_nothing_yet_is_nothing_and_not_zero() -> None:
    figures = RollingWindow(WINDOW).figures()
    assert (figures.error_rate, figures.rps, figures.tokens_per_s, figures.ttft_p50) == (None, None, None, None)


def state(url: str, *answered: int, tokens: bool = True) -> State:
    window = RollingWindow(WINDOW)
    for n, count in enumerate(answered):
        one = probe(n * EVERY, count)
        window.add(one if tokens else ProbeResult(one.started, one.ended, 16, count, None, one.ttfts))
    return State(url, None, (), False, window.figures(), window.last, tuple(window.outages), Suspicion((), ()))


def test_ranks_are_by_tokens_less_errors_and_the_dead_have_none() -> None:
    rows = ranked([state("dead", 0, 0), state("flaky", 16, 0), state("good", 16, 16), state("new")])
    assert [(row.state.url, row.rank, row.up) for row in rows] == [
        ("good", 1, True), ("flaky", 2, False), ("dead", None, False), ("new", None, None),
    ]  # fmt: skip
