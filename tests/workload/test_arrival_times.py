"""Schedules of open streams, held against the distributions that they are meant to have."""

import math
from collections import Counter
from itertools import islice, takewhile

import numpy as np
import pytest

from probe_ext.workload.arrival_times import (
    ArrivalCount,
    ArrivalForm,
    ScheduledArrival,
    kind_of,
    own_arrivals,
    segment_seed,
)

SEEDS = (1, 20, 300)
RATE, NUMBER = 5.0, 4000
KS_LIMIT = 1.95
"""× √n: passed by chance in 1 of 1,000 samples (two-sided Kolmogorov-Smirnov)"""


def gaps_of(form: ArrivalForm, seed: int) -> np.ndarray:
    return np.diff(list(islice(form.times(RATE, segment_seed(seed, 0)), NUMBER + 1)))


def distance(sample: np.ndarray, cdf: np.ndarray) -> float:
    """√n times the largest distance of the sample's distribution from `cdf`, taken at the sorted sample."""
    n = len(sample)
    steps = np.arange(n + 1) / n
    return float(np.sqrt(n) * max(np.max(steps[1:] - cdf), np.max(cdf - steps[:-1])))


@pytest.mark.parametrize("seed", SEEDS)
def test_gaps_of_poisson_arrivals_are_exponential(seed):
    gaps = np.sort(gaps_of(ArrivalForm(), seed))
    assert distance(gaps, 1 - np.exp(-RATE * gaps)) < KS_LIMIT
    assert distance(gaps, 1 - np.exp(-1.15 * RATE * gaps)) > KS_LIMIT  # the test can fail


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [1, 2, 4])
def test_gaps_of_gamma_arrivals_have_their_distribution(seed, shape):
    """With a whole shape k = 1 ÷ cv², the distribution is that of a sum of k exponential gaps (Erlang)."""
    gaps = np.sort(gaps_of(ArrivalForm("gamma", shape**-0.5), seed))
    x = shape * RATE * gaps
    below = sum(x**i / np.prod(np.arange(1, i + 1)) for i in range(shape))
    assert distance(gaps, 1 - np.exp(-x) * below) < KS_LIMIT


@pytest.mark.parametrize("seed", SEEDS)
def test_bursts_vary_as_much_as_asked(seed):
    """With cv 2 the shape is ¼ and the scale 4 ÷ rate; the sum of two gaps has shape ½, like half a squared normal."""
    gaps = gaps_of(ArrivalForm("gamma", 2.0), seed)
    pairs = np.sort(gaps[0::2] + gaps[1::2])
    cdf = np.array([math.erf(math.sqrt(x * RATE / 4)) for x in pairs])
    assert distance(pairs, cdf) < KS_LIMIT
    assert 0.15 < gaps.mean() < 0.25


def test_constant_arrivals_are_evenly_spaced():
    gaps = gaps_of(ArrivalForm("constant"), 1)
    assert np.allclose(gaps, 1 / RATE)
    assert 0 <= next(ArrivalForm("constant").times(RATE, "any")) < 1 / RATE


@pytest.mark.parametrize("cv", [0.3, 5.0])
def test_the_rate_holds_from_the_start_of_a_segment(cv):
    form = ArrivalForm("gamma", cv)
    counts = [ArrivalCount(form.times(1.0, segment_seed(seed, 0)), {}, "any").until(10).total() for seed in range(4000)]
    assert np.mean(counts) == pytest.approx(10, abs=4 * np.std(counts) / math.sqrt(len(counts)))


@pytest.mark.parametrize("form", [ArrivalForm(), ArrivalForm("constant"), ArrivalForm("gamma", 2.0)])
def test_four_workers_together_send_what_one_sends(form):
    kinds, before, seed = {"chat": 0.7, "review": 0.3}, {"chat": 5, "review": 2}, segment_seed(7, 2)

    def share(index: int, of: int) -> list[ScheduledArrival]:
        return list(islice(own_arrivals(form.times(RATE, seed), kinds, seed, before, index, of), 1000 // of))

    alone = share(0, 1)
    assert sorted((one for index in range(4) for one in share(index, 4)), key=lambda one: one.in_run) == alone
    assert [one.in_run for one in alone] == list(range(7, 1007))
    assert [one.in_kind for one in alone if one.kind == "review"] == list(
        range(2, 2 + sum(one.kind == "review" for one in alone))
    )


def test_segments_and_runs_differ():
    def first(seed: int, number: int) -> list[float]:
        return list(islice(ArrivalForm().times(RATE, segment_seed(seed, number)), 5))

    assert first(1, 0) == first(1, 0)
    assert first(1, 0) != first(1, 1)
    assert first(1, 0) != first(2, 0)


def test_arrivals_are_counted_by_kind_up_to_a_moment():
    shares = {"chat": 0.7, "review": 0.3}
    counted = ArrivalCount(ArrivalForm().times(RATE, "x"), shares, "x")
    for moment in (5, 5, 20):
        before = takewhile(lambda t, moment=moment: t < moment, ArrivalForm().times(RATE, "x"))
        expected = Counter(kind_of(shares, "x", number) for number, _ in enumerate(before))
        assert counted.until(moment) == expected
    assert expected.total() > 50


def test_a_form_survives_the_way_through_json():
    for form in (ArrivalForm(), ArrivalForm("constant"), ArrivalForm("gamma", 2.5)):
        assert ArrivalForm.from_json(form.as_json()) == form
    for wrong in ({}, {"form": "weibull"}, {"form": "gamma", "cv": 0}, {"form": "gamma", "cv": "2"}):
        with pytest.raises(ValueError, match="not a form"):
            ArrivalForm.from_json(wrong)


def test_kinds_have_their_shares_and_depend_on_the_number_alone():
    shares = {"chat": 0.7, "code": 0.2, "review": 0.1}
    kinds = [kind_of(shares, segment_seed(3, 0), number) for number in range(4000)]
    expected = np.array([4000 * share for share in shares.values()])
    seen = np.array([kinds.count(name) for name in shares])
    assert float(((seen - expected) ** 2 / expected).sum()) < 13.8, "χ² with 2 degrees of freedom, 1 in 1,000"
    assert kinds[::3] == [kind_of(shares, segment_seed(3, 0), number) for number in range(0, 4000, 3)]
    assert kind_of({}, "x", 1) == ""
