"""A run through its rolling window: figures of known requests, and what an outage of known length shows."""

from dataclasses import asdict

import numpy as np
import pytest
from worlds import reply

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.report.charts.lane_chart import Axis
from probe_ext.report.sections.optional.rolling import outage_sentence, rolling_lanes
from probe_ext.verdict.evidence.columns import from_rows
from probe_ext.verdict.results.rolling_windows import rolling_windows
from probe_ext.verdict.values.rolling_types import Rolling

WINDOW, RUN = 90.0, 600.0


def ended(t: float, outcome: Outcome = Outcome.COMPLETE, ttft: float = 0.2) -> ReplyRow:
    """Return a request that ends at `t`, after 1 s."""
    return reply(0, t - 1.0, first=t - 1.0 + ttft, end=t, outcome=outcome.value)


def seen(rows: list[ReplyRow], window: float = WINDOW) -> Rolling:
    rolling = rolling_windows(from_rows(rows, ReplyRow), window)
    assert rolling is not None
    return rolling


def evenly(outage: tuple[float, float], per_s: float = 2.0) -> list[ReplyRow]:
    """Return requests that end evenly; those that end in the outage fail."""
    times = np.arange(0, RUN + 1e-9, 1 / per_s)
    return [ended(t, Outcome.CONNECT_FAILED if outage[0] < t < outage[1] else Outcome.COMPLETE) for t in times.tolist()]


def test_an_outage_of_a_third_of_the_window_shows_as_a_third_until_the_window_has_passed() -> None:
    rolling = seen(evenly((200.0, 230.0)))
    (outage,) = rolling.outages
    assert (outage.since, outage.until) == (200.0, 230.0)
    assert outage.even_share == pytest.approx(1 / 3)
    assert outage.worst_share == pytest.approx(1 / 3, abs=0.01)
    assert outage.clean_at == pytest.approx(229.5 + WINDOW)
    for moment in rolling.moments:
        clean = moment.t <= 200.0 or moment.t >= outage.clean_at
        assert (moment.failed_share == 0) == clean
    assert "33 %" in outage_sentence(outage.__dict__, WINDOW)


def test_users_who_wait_for_replies_show_less_of_the_same_outage() -> None:
    """Failing attempts take twice as long as served ones: half as many of them, so 20 % instead of 33 %."""
    rows = [ended(t) for t in np.arange(0, RUN, 0.5).tolist() if not 200 < t < 230]
    rows += [ended(t, Outcome.CONNECT_TIMEOUT) for t in np.arange(200.5, 230, 1.0).tolist()]
    (outage,) = seen(rows).outages
    assert outage.worst_share == pytest.approx(0.2, abs=0.01)
    assert outage.even_share == pytest.approx(1 / 3, abs=0.01)


def test_figures_are_those_of_the_requests_that_ended_in_the_window() -> None:
    rng = np.random.default_rng(5)
    rows = [ended(float(t), ttft=float(rng.uniform(0.1, 0.9))) for t in np.sort(rng.uniform(0, RUN, 2000))]
    rolling = seen(rows)
    for moment in rolling.moments[::17]:
        inside = [row for row in rows if moment.t - WINDOW < row.end <= moment.t]
        waits = [row.first - row.sent for row in inside if row.first is not None and row.sent is not None]
        assert moment.requests == len(inside)
        assert moment.complete_per_s == pytest.approx(len(inside) / WINDOW)
        assert moment.ttft_p95 == pytest.approx(float(np.quantile(waits, 0.95)))
        assert moment.answer_p50 == pytest.approx(1.0)
    assert rolling.moments[0].t == WINDOW
    assert rolling.moments[-1].t <= RUN


def test_a_run_shorter_than_two_windows_has_none_and_an_endless_one_has_few_moments() -> None:
    assert rolling_windows(from_rows([ended(100.0)], ReplyRow), 60.0) is None
    assert rolling_windows(from_rows([], ReplyRow), 60.0) is None
    many = seen([ended(float(t)) for t in range(0, 80_000, 10)], window=10.0)
    assert len(many.moments) <= 481


def test_a_run_without_failures_has_its_lanes() -> None:
    rolling = seen(evenly((0.0, 0.0)))
    failed, ttft = rolling_lanes({"rolling": asdict(rolling)}, Axis(RUN))
    assert failed.plot is not None
    assert ttft.plot is not None
    assert "0 %" in failed.plot.description


def test_single_failures_and_our_own_are_no_outage() -> None:
    rows = [ended(float(t), Outcome.CUT if t % 50 == 0 else Outcome.COMPLETE) for t in range(1, 600)]
    rows += [ended(300.0 + i / 10, Outcome.CLIENT_ERROR) for i in range(5)]
    rows += [ended(601.0, Outcome.ENDED_BY_US) for _ in range(5)]
    rolling = seen(rows)
    assert not rolling.outages
    assert max(moment.requests for moment in rolling.moments) <= 90


def test_an_outage_at_the_end_is_not_over() -> None:
    (outage,) = seen(evenly((550.0, RUN + 1))).outages
    assert (outage.until, outage.clean_at) == (None, None)
    assert outage.worst_share == pytest.approx(50 / 90, abs=0.03)
    assert outage_sentence(outage.__dict__, WINDOW) == "From 9:10 to the end, all 100 requests failed."


def test_arrivals_that_were_not_sent_count_as_failed() -> None:
    rows = [ended(float(t), Outcome.NOT_SENT if t % 3 == 0 else Outcome.COMPLETE) for t in range(1, 600)]
    moment = seen(rows).moments[0]
    assert (moment.requests, moment.unsent) == (90, 30)
    assert moment.failed_share == pytest.approx(1 / 3)
