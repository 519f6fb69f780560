"""Pauses by --think-time: of the given mean, and the same in every run with the same seed."""

from statistics import fmean

import pytest

from probe_ext.workload.think_times import ThinkTimes

MEAN, SEED = 30.0, 7


def drawn(user: int, count: int, mean: float = MEAN, seed: int = SEED) -> list[float]:
    times = ThinkTimes(mean, seed, user)
    return [times.next() for _ in range(count)]


def test_pauses_are_exponential_with_the_given_mean() -> None:
    pauses = [pause for user in range(100) for pause in drawn(user, 100)]
    assert fmean(pauses) == pytest.approx(MEAN, rel=0.05)
    assert sum(pause > MEAN for pause in pauses) / len(pauses) == pytest.approx(0.368, abs=0.02)
    assert fmean(drawn(user, 1)[0] for user in range(10_000)) == pytest.approx(MEAN, rel=0.05), "the first is like any"


def test_they_repeat_with_the_seed_and_differ_between_users() -> None:
    assert drawn(3, 20) == drawn(3, 20)
    assert len({*drawn(3, 20), *drawn(4, 20), *drawn(3, 20, seed=8)}) == 60


def test_without_a_mean_there_is_no_pause() -> None:
    assert drawn(0, 3, mean=0.0) == [0, 0, 0]
