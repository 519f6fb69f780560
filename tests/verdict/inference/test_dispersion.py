"""What a reply is worth."""

import numpy as np
import pytest
from runs import HOLD_S, random_visit, visit

from probe_ext.verdict.inference.dispersion import Pooled, VisitSums, lag_factor, level_factors, pool, visit_sums
from probe_ext.verdict.inference.disturbances import find_drift
from probe_ext.verdict.inference.observations import Visit, group_by_users


def sums_of(visits: list[Visit]) -> VisitSums:
    return visit_sums(group_by_users(visits))


def clustered_visit(users: int, cycles: int, icc: float, seed: int, start: float):
    rng = np.random.default_rng(seed)
    size = (1 - icc) / icc
    share = np.repeat(rng.beta(0.9 * size, 0.1 * size, cycles), users)
    return visit(users, rng.random(users * cycles) < share, start=start)


def test_lag_factor_by_hand() -> None:
    assert lag_factor(0.0, 10) == 1.0
    assert lag_factor(0.5, 1) == 1.0
    assert lag_factor(0.5, 2) == pytest.approx(1.5)  # two blocks that correlate by a half: 1 + r
    assert lag_factor(0.5, 1e6) == pytest.approx(3.0, abs=1e-4)


def test_factor_is_at_least_one_and_grows_with_block_size() -> None:
    pooled = Pooled(0.1, 0.0, 10.0, "blocks")
    assert pooled.factor(1, 5) == 1.0
    assert pooled.factor(11, 5) == pytest.approx(2.0)


@pytest.mark.parametrize(("icc", "low", "high"), [(0.05, 0.02, 0.10), (0.3, 0.2, 0.4)])
def test_pool_finds_the_intraclass_correlation(icc: float, low: float, high: float) -> None:
    visits = [clustered_visit(20, 40, icc, seed, seed * 50.0) for seed in range(12)]
    assert low < pool(sums_of(visits), 0.9).icc < high


def test_independent_replies_show_little_dispersion() -> None:
    visits = [random_visit(16 + i, 20 * (16 + i), 0.9, seed=i, start=i * 50.0) for i in range(6)]
    pooled = pool(sums_of(visits), 0.9)
    assert pooled.icc < 0.03
    assert np.mean(level_factors(sums_of(visits), pooled)) < 1.6


def test_dispersion_of_overloaded_levels_counts_little() -> None:
    near = [random_visit(20, 400, 0.9, seed=i, start=i * 50.0) for i in range(4)]
    waves = np.tile(np.repeat([True, False], 20), 10)  # a level that is all good, then all bad, in turns
    far = visit(40, np.repeat(waves, 2), start=300.0)
    assert pool(sums_of([*near, far]), 0.9).icc < 0.25


def test_nothing_usable_leaves_the_prior() -> None:
    assert pool(sums_of([visit(4, [True] * 12)]), 0.9).source == "prior"


def test_drift_is_seen_between_visits_of_one_level() -> None:
    early, late = random_visit(20, 400, 0.98, seed=1), random_visit(20, 400, 0.6, seed=2, start=2 * HOLD_S)
    pooled = Pooled(0.05, 0.1, 20.0, "blocks")
    assert find_drift(sums_of([early, late]), pooled, 3.0) == [0]
    assert find_drift(sums_of([early]), pooled, 3.0) == []
