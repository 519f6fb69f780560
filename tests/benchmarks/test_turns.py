"""The benchmark calls a target met or missed only as often wrongly as its interval says."""

import math

import numpy as np
import pytest

from benchmarks.turns import FEWEST_TURNS, mean_of, mean_of_pairs

RUNS = 2_000
TRUE_RATIO = 1.4


def _measured(seed: int, turns: int) -> list[float]:
    """Ratios of turns that scatter by a tenth."""
    return [TRUE_RATIO * math.exp(one) for one in np.random.default_rng(seed).normal(0, 0.1, turns)]


@pytest.mark.parametrize("turns", [FEWEST_TURNS, 6, 12])
def test_the_interval_contains_the_true_ratio_in_95_percent(turns: int) -> None:
    means = [mean_of(_measured(seed, turns)) for seed in range(RUNS)]
    covered = sum(mean.low <= TRUE_RATIO <= mean.high for mean in means) / RUNS
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / RUNS))


def test_a_target_at_the_true_ratio_is_seldom_decided() -> None:
    verdicts = [mean_of(_measured(seed, 6)).verdict(TRUE_RATIO) for seed in range(RUNS)]
    assert verdicts.count("undecided") > 0.93 * RUNS


def test_clear_cases() -> None:
    steady = mean_of([1.0, 1.01, 0.99, 1.0])
    assert (steady.verdict(1.4), steady.verdict(0.5)) == ("met", "missed")
    assert (steady.verdict(1.05, 0.95), steady.verdict(3.0, 2.0)) == ("met", "missed")
    assert steady.half_width < 0.02


def test_too_few_turns_decide_nothing() -> None:
    few = mean_of([1.0] * (FEWEST_TURNS - 1))
    assert few.verdict(2.0) == few.verdict(0.5) == "undecided"
    assert str(few) == "1.00"


def test_small_ratios_have_three_places() -> None:
    assert str(mean_of([0.08, 0.08, 0.08, 0.08])) == "0.080 (0.080–0.080)"


def test_pairs_are_of_the_same_turn() -> None:
    """A machine that gets twice as slow between two turns changes no ratio."""
    assert str(mean_of_pairs([10.0, 20.0, 10.0, 20.0, 7.0], [5.0, 10.0, 5.0, 10.0])) == "2.00 (2.00–2.00)"
