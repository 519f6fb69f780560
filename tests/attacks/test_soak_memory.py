"""The hostile soak's judgement of memory: noise passes, leaks do not."""

import random

import pytest

from scripts.hostile.memory import judge_memory, theil_sen
from scripts.swarm.soak import Sample


def samples(minutes: int, per_hour: float = 0.0, step: float = 0.0, seed: int = 1) -> list[Sample]:
    """A process with replies of up to 16 MiB in flight, sampled every ten seconds, that grows, or steps half-way."""
    drawn, made = random.Random(seed), []
    for n in range(minutes * 6):
        held = drawn.choice([0, 0, 0, 8, 16, 16]) + drawn.gauss(0, 2)
        grown = per_hour * n / 360 + step * (n >= minutes * 4)
        made.append((10.0 * n, "worker 1", 150 + held + grown, 0.0))
    return made


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("per_hour", [0.0, 5.0])
def test_noise_is_no_growth(seed: int, per_hour: float) -> None:
    assert judge_memory(samples(60, per_hour, seed=seed))[1] == []


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_is_found(seed: int) -> None:
    faults = judge_memory(samples(60, 60.0, seed=seed))[1]
    assert any("MiB/h" in fault for fault in faults)


def test_the_interval_covers_the_true_slope_in_most_runs() -> None:
    covered = 0
    for seed in range(100):
        figures, _ = judge_memory(samples(60, 60.0, seed=seed))
        low, high = figures["worker 1"]["low"], figures["worker 1"]["high"]
        assert low is not None
        assert high is not None
        covered += low <= 60 <= high
    assert covered >= 85


def test_a_step_is_found_although_most_minutes_are_flat() -> None:
    assert any("grew by" in fault for fault in judge_memory(samples(60, step=50))[1])


def test_a_short_run_has_no_slope_but_its_growth_is_judged() -> None:
    figures, faults = judge_memory(samples(15))
    assert "per_hour" not in figures["worker 1"]
    assert not faults
    assert judge_memory(samples(15, step=80))[1]


def test_the_slope_ignores_outliers() -> None:
    points = [(n / 60, 100.0 + n / 2 + (500 if n == 17 else 0)) for n in range(40)]
    slope, low, high = theil_sen(points)
    assert low <= 30 <= high
    assert slope == pytest.approx(30, abs=0.5)
