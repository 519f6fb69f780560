"""Proofs with neighbours, by hand."""

import numpy as np
import pytest

from probe_ext.verdict.inference.level_proofs import (
    effective_counts,
    evidence_of_failing,
    evidence_of_holding,
    falls_short_alone,
    find_contradictions,
    gaps_of_crossing,
    monotone_fit,
)


def counts(served: list[float], replies: list[float], phi: float = 1.0):
    return effective_counts(np.array(served), np.array(replies), np.full(len(served), phi))


def test_holding_carries_down_and_failing_carries_up() -> None:
    three = counts([20, 99, 50], [20, 100, 100])
    holding, failing = evidence_of_holding(three, 0.9), evidence_of_failing(three, 0.9)
    assert holding[0] >= holding[1] > 2 > holding[2]
    assert failing[2] > 2 > failing[1]
    assert np.all(np.diff(holding) <= 0)
    assert np.all(np.diff(failing) >= 0)


def test_level_fails_only_if_those_above_are_shown_to_fail_too() -> None:
    """A low level may seem to fail by chance: the more levels, the sooner one of them does."""
    below, above = evidence_of_failing(counts([80, 93], [100, 100]), 0.9)
    assert below == above < 2
    assert falls_short_alone(counts([80, 93], [100, 100]), 0.9, 2.0).tolist() == [True, False]
    clear = evidence_of_failing(counts([80, 70], [100, 100]), 0.9)
    assert clear[0] == pytest.approx(evidence_of_failing(counts([80], [100]), 0.9)[0])


def test_chance_makes_no_more_levels_fail_together_than_one() -> None:
    rng = np.random.default_rng(70_000)
    runs = [counts(list(rng.binomial(100, 0.9, 8).astype(float)), [100.0] * 8) for _ in range(400)]
    assert np.mean([evidence_of_failing(run, 0.9).max() > 1.96 for run in runs]) < 0.05


def test_neighbours_above_help_to_hold() -> None:
    alone = evidence_of_holding(counts([40], [40]), 0.9)[0]
    helped = evidence_of_holding(counts([40, 40], [40, 40]), 0.9)[0]
    assert helped > alone


def test_neighbours_below_do_not_help_to_hold() -> None:
    helped = evidence_of_holding(counts([400, 38], [400, 40]), 0.9)
    assert helped[1] == pytest.approx(evidence_of_holding(counts([38], [40]), 0.9)[0])


def test_dispersion_weakens_every_proof() -> None:
    assert (
        evidence_of_holding(counts([99], [100], 4.0), 0.9)[0] < evidence_of_holding(counts([99], [100]), 0.9)[0] / 1.5
    )


def test_level_below_the_limit_contradicts_a_better_one_above() -> None:
    assert find_contradictions(counts([100, 50, 100], [100, 100, 100]), 0.9, 3.0).tolist() == [False, True, False]
    assert not find_contradictions(counts([100, 95, 100], [100, 100, 100]), 0.9, 1.0).any()


def test_monotone_fit_pools_violators() -> None:
    assert monotone_fit(counts([90, 100, 50], [100, 100, 100])) == pytest.approx([0.95, 0.95, 0.5])


@pytest.mark.parametrize("phi", [1.13, 1.7, 2.3, 3.1])
@pytest.mark.parametrize("below", [37, 61, 100, 333])
def test_share_of_exactly_the_limit_is_not_below_it(below: float, phi: float) -> None:
    assert (monotone_fit(counts([below, 90, 63], [below, 100, 70], phi)) >= 0.9).all()


def test_crossing_gap_is_certain_at_a_cliff_and_open_in_the_flat() -> None:
    assert gaps_of_crossing(counts([100, 100, 20], [100, 100, 100]), 0.9, 1.0) == (2, 2)
    assert gaps_of_crossing(counts([90, 90, 90], [100, 100, 100]), 0.9, 1.0) == (0, 3)
