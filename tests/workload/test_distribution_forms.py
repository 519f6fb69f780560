"""Distributions: draws agree with the stated function (Kolmogorov-Smirnov), with the stated mean, and with bounds."""

import itertools
import math
from random import Random
from statistics import NormalDist, fmean

import pytest

from probe_ext.workload.distribution_forms import (
    MAX_STORED_VALUES,
    MAX_VALUE,
    MIN_VALUE,
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Lognormal,
    Normal,
    Uniform,
)
from probe_ext.workload.draws import uniform_share

DRAWS = 4000
KS_LIMIT = 1.95 / math.sqrt(DRAWS)
"""exceeded by one in a thousand samples of a right distribution; the seeds here are fixed"""
SEED = 20261130

NORMAL = NormalDist()


def lognormal_cdf(x: float, mu: float, sigma: float) -> float:
    return NORMAL.cdf((math.log(x) - mu) / sigma) if x > 0 else 0.0


def truncated(cdf, low: float, high: float):
    """Return the distribution function that is left between two bounds."""
    return lambda x: min(1.0, max(0.0, (cdf(x) - cdf(low)) / (cdf(high) - cdf(low))))


# Written anew from the definitions: nothing here uses the code under test.
_VARIANCE = math.log(1 + (150 / 200) ** 2)
_MU, _SIGMA = math.log(200) - _VARIANCE / 2, math.sqrt(_VARIANCE)
CASES = [
    (Uniform(100, 300), lambda x: min(1.0, max(0.0, (x - 100) / 200))),
    (Normal(200, 50), truncated(NormalDist(200, 50).cdf, 0, 1e9)),
    (Normal(30, 40), truncated(NormalDist(30, 40).cdf, 0, 1e9)),
    (Normal(200, 50, min=180, max=400), truncated(NormalDist(200, 50).cdf, 180, 400)),
    (Lognormal(mean=200, sd=150), lambda x: lognormal_cdf(x, _MU, _SIGMA)),
    (
        Lognormal(mean=200, sd=150, min=50, max=300),
        truncated(lambda x: lognormal_cdf(x, _MU, _SIGMA), 50, 300),
    ),
    (
        Lognormal(median=20, p95=90),
        lambda x: lognormal_cdf(x, math.log(20), math.log(90 / 20) / 1.6448536269514722),
    ),
    (Exponential(30), lambda x: 1 - math.exp(-x / 30) if x > 0 else 0.0),
    (Exponential(30, min=5, max=60), truncated(lambda x: 1 - math.exp(-x / 30), 5, 60)),
]
each_case = pytest.mark.parametrize(("form", "cdf"), CASES, ids=[repr(form) for form, _ in CASES])


def draws(form: Distribution) -> list[float]:
    return [form.quantile(uniform_share(SEED, number)) for number in range(DRAWS)]


def distance(values: list[float], cdf) -> float:
    """Return the Kolmogorov-Smirnov distance of a sample from a continuous distribution."""
    ordered, n = sorted(values), len(values)
    return max(max((i + 1) / n - cdf(x), cdf(x) - i / n) for i, x in enumerate(ordered))


@each_case
def test_draws_follow_the_distribution(form: Distribution, cdf) -> None:
    assert distance(draws(form), cdf) < KS_LIMIT


@each_case
def test_its_own_function_and_mean_are_those_of_the_draws(form: Distribution, cdf) -> None:
    for share in (0.01, 0.2, 0.5, 0.9, 0.999):
        value = form.quantile(share)
        assert form.cdf(value) == pytest.approx(share, abs=1e-6)
        assert cdf(value) == pytest.approx(share, abs=1e-6)
    grid = [form.quantile((i + 0.5) / 20_000) for i in range(20_000)]
    assert form.average == pytest.approx(fmean(grid), rel=2e-3)


def test_a_wrong_distribution_is_noticed() -> None:
    assert distance(draws(Exponential(30)), lambda x: 1 - math.exp(-x / 36) if x > 0 else 0.0) > KS_LIMIT


def test_uniform_shares_are_uniform_and_independent_of_one_another() -> None:
    shares = [uniform_share("prompt", 7, "chat", user, number) for user in range(40) for number in range(100)]
    assert distance(shares, lambda x: x) < KS_LIMIT
    later = shares[1:]
    mean = fmean(shares)
    correlation = sum((a - mean) * (b - mean) for a, b in zip(shares, later, strict=False)) / sum(
        (a - mean) ** 2 for a in shares
    )
    assert abs(correlation) < 0.06
    assert uniform_share("a", 1, 23) != uniform_share("a", 12, 3), "keys are not run together"


def test_constant_and_its_function() -> None:
    form = Constant(30)
    assert (form.average, form.quantile(0.1), form.count(0.9)) == (30, 30, 30)
    assert (form.cdf(29.9), form.cdf(30)) == (0, 1)


def test_counts_of_a_uniform_distribution_include_both_ends_equally() -> None:
    counted = [Uniform(2, 6).count(uniform_share(SEED, number)) for number in range(DRAWS)]
    assert set(counted) == {2, 3, 4, 5, 6}
    expected = DRAWS / 5
    chi_squared = sum((counted.count(value) - expected) ** 2 / expected for value in range(2, 7))
    assert chi_squared < 18.5  # 4 degrees of freedom: exceeded by one in a thousand
    assert Uniform(2, 6).average_count == 4
    assert Uniform(0.2, 0.4).count(0.5) == 1, "a count is at least 1"


def test_counts_are_rounded_and_at_least_one() -> None:
    assert [Exponential(3).count(share) for share in (0.0, 0.1, 0.5, 0.9)] == [1, 1, 2, 7]
    assert Exponential(3).average_count == pytest.approx(
        fmean(max(1, round(x)) for x in draws(Exponential(3))), rel=0.03
    )


def test_empirical_values_occur_as_often_as_they_were_recorded() -> None:
    form = Empirical((5, 1, 1, 3))
    assert form.values == (1, 1, 3, 5)
    assert [form.quantile(share) for share in (0, 0.49, 0.5, 0.75, 0.999, 1)] == [1, 1, 3, 5, 5, 5]
    assert (form.average, form.cdf(0.9), form.cdf(1), form.cdf(4), form.cdf(5)) == (2.5, 0, 0.5, 0.75, 1)
    counted = [form.quantile(uniform_share(SEED, number)) for number in range(DRAWS)]
    assert [counted.count(value) / DRAWS for value in (1, 3, 5)] == pytest.approx([0.5, 0.25, 0.25], abs=0.025)


def test_a_long_list_is_thinned_to_its_quantiles() -> None:
    rng = Random(SEED)
    recorded = [rng.lognormvariate(5, 1) for _ in range(50_000)]
    form = Empirical(tuple(recorded))
    assert len(form.values) == MAX_STORED_VALUES
    worst = max(abs(form.cdf(x) - (i + 1) / len(recorded)) for i, x in enumerate(sorted(recorded)))
    assert worst <= 1 / MAX_STORED_VALUES


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Constant(-1), "value: -1: must be at least 0"),
        (lambda: Constant(math.nan), "value: nan: must be a finite number"),
        (lambda: Constant(True), "value: True: is not a number"),
        (lambda: Uniform(5, 1), "high: 1: must be at least 5"),
        (lambda: Normal(10, 0), "sd: 0: must be greater than 0"),
        (lambda: Normal(100, 1, min=200), "min 200 leaves nothing of the distribution"),
        (lambda: Lognormal(mean=0, sd=1), "mean: 0: must be greater than 0"),
        (lambda: Lognormal(mean=1, p95=3), "mean, p95: must be mean and sd, or median and p95"),
        (lambda: Lognormal(median=5, p95=5), "p95: 5: must be greater than 5"),
        (lambda: Exponential(math.inf), "mean: inf: must be a finite number"),
        (lambda: Exponential(1, min=9, max=3), "max: 3: must be at least 9"),
        (lambda: Empirical(()), "values: are missing"),
    ],
)
def test_wrong_parameters_are_refused(make, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace(".", r"\.")):
        make()


@pytest.mark.parametrize("form", [Normal, Lognormal, Exponential])
def test_every_accepted_distribution_can_be_calculated_with(form):
    extremes = [MIN_VALUE, 1.0, 1000.0, MAX_VALUE]
    names = {Normal: [("mean", "sd")], Lognormal: [("mean", "sd"), ("median", "p95")], Exponential: [("mean",)]}[form]
    accepted = 0
    for pair in names:
        for values in itertools.product(extremes, repeat=len(pair)):
            for bounds in itertools.product([None, *extremes], repeat=2):
                try:
                    made = form(**dict(zip(pair, values, strict=True)), min=bounds[0], max=bounds[1])
                except ValueError:
                    continue
                accepted += 1
                figures = [made.average, *(made.quantile(share) for share in (0.0, 0.5, 1.0)), made.cdf(1.0)]
                assert all(math.isfinite(figure) for figure in figures), made
    assert accepted >= 20
