"""Limits of what lies between two figures."""

import math

import pytest

from probe_ext.compare.measured import Measured, contrast, from_interval
from probe_ext.compare.repeated_runs import widened
from probe_ext.verdict.inference.quantiles import normal_quantile


def normal(point: float, error: float, seconds: float = 60.0) -> Measured:
    return Measured(
        point,
        lambda e: (point - normal_quantile(1 - e) * error, point + normal_quantile(1 - e) * error),
        seconds,
    )


def gap(low: float, high: float) -> Measured:
    return Measured(low, lambda _: (low, high), 60.0)


def test_of_two_normal_figures_variances_add() -> None:
    found = contrast(normal(1.0, 3.0), normal(2.0, 4.0), "difference", 0.025)
    assert (found.low, found.high) == pytest.approx((1 - 1.96 * 5, 1 + 1.96 * 5), abs=0.05)


def test_gaps_are_told_apart_only_where_they_do_not_overlap() -> None:
    assert contrast(gap(8, 15), gap(16, 31), "ratio", 0.025).sign == 1
    assert contrast(gap(8, 16), gap(16, 31), "ratio", 0.025).sign == 0
    assert contrast(gap(16, 31), gap(8, 15), "ratio", 0.025).sign == -1


def test_without_an_upper_limit_only_the_other_direction_can_be_proven() -> None:
    found = contrast(gap(8, 10), gap(12, math.inf), "ratio", 0.025)
    assert found.sign == 1
    assert math.exp(found.low) == pytest.approx(1.2)
    assert math.isinf(found.high)
    assert contrast(gap(8, math.inf), gap(12, math.inf), "ratio", 0.025).sign == 0


def test_what_time_is_extrapolated_from_is_the_gap_alone_and_not_what_noise_adds_to_it() -> None:
    def capacity(low: float, high: float) -> Measured:
        return Measured(low, lambda e: (low / 1.2, high * 1.2), 60.0, left_open=(low, high))

    found = contrast(capacity(20, 21), capacity(24, 25), "ratio", 0.025)
    assert found.inner == pytest.approx((math.log(24 / 21), math.log(25 / 20)))
    assert found.sign == 0
    factor = found.time_factor(found.inner[0], 0.025)
    assert factor is not None
    assert factor > 1


def test_limits_contain_what_is_left_open() -> None:
    figure = Measured(20.0, lambda _: (20.0, 20.0), 60.0, left_open=(18.0, 21.0))
    assert figure.span("difference", 0.025) == (18.0, 21.0)


def test_a_difference_below_the_resolution_is_none() -> None:
    assert contrast(normal(1.0, 0.0), normal(1.0000001, 0.0), "ratio", 0.025).sign == 0


def test_limits_are_swapped_with_the_figures() -> None:
    a, b = normal(5.0, 0.4), normal(7.0, 0.9)
    there, back = contrast(a, b, "ratio", 0.01), contrast(b, a, "ratio", 0.01)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_the_announced_time_tells_in_four_of_five_cases() -> None:
    found = contrast(normal(0.0, 0.1), normal(0.2, 0.1), "difference", 0.025)
    factor = found.time_factor(0.2, 0.025)
    assert factor == pytest.approx(((1.96 + 0.8416) * math.sqrt(2) / 2.0) ** 2, rel=0.02)
    assert found.time_factor(0.0, 0.025) is None


def test_time_is_not_extrapolated_from_a_limit_that_says_nothing() -> None:
    nothing_held = Measured(8.0, lambda e: (0.0 if e < 0.4 else 8.0, 8.0), 60.0, floor=0.5)
    found = contrast(gap(4, 4), nothing_held, "ratio", 0.025)
    factor = found.time_factor(math.log(2), 0.025)
    assert factor is not None
    assert factor < 5


def test_an_interval_alone_widens_with_the_confidence_asked_for() -> None:
    share = from_interval(0.8, 0.7, 0.88, 30.0, log=False)
    assert share.limits(0.025) == pytest.approx((0.7, 0.88))
    assert share.limits(0.0005)[0] < 0.65
    ratio = from_interval(4.0, 2.0, None, 0.0, log=True)
    assert ratio.limits(0.025) == (pytest.approx(2.0), math.inf)


def test_runs_that_differ_more_than_their_noise_widen_the_limits() -> None:
    runs = [normal(10.0, 0.1), normal(13.0, 0.1), normal(11.5, 0.1)]
    (wider,), known = widened([normal(11.5, 0.06)], [runs], "difference")
    assert known
    low, high = wider.limits(0.025)
    assert high - low > 10 * 2 * 1.96 * 0.06


def test_runs_that_agree_cost_the_certainty_of_few_runs_only() -> None:
    runs = [normal(10.0, 1.0), normal(10.1, 1.0)]
    (wider,), known = widened([normal(10.05, 0.7)], [runs], "difference")
    low, high = wider.limits(0.025)
    assert known
    assert 1.0 < (high - low) / (2 * 1.96 * 0.7) < 1.4


def test_a_single_run_each_says_nothing_of_the_spread() -> None:
    figures = [normal(1.0, 0.1), normal(2.0, 0.1)]
    same, known = widened(figures, [[figures[0]], [figures[1]]], "difference")
    assert not known
    assert list(same) == figures


def test_limits_beyond_all_numbers_are_none() -> None:
    figures = [Measured(1.0, lambda e: (0.0, 1e300 if e < 0.4 else 1.0), 60.0) for _ in range(2)]
    (wider, *_), known = widened(figures, [figures, figures], "ratio")
    assert known
    assert math.isinf(wider.limits(0.001)[1])
