"""What a user of one kind costs in users of another, on mixes of known cost."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from probe_ext.verdict.inference.observations import Visit
from probe_ext.verdict.results.mix_cost import MixCost, mix_cost

CYCLES, CYCLE_S = 15, 3.0
LIMITS = (22.0, 26.0)
"""load at which nine tenths of each kind's replies are served"""
VARIED = ((8, 1), (8, 3), (8, 5), (14, 1), (14, 3), (20, 1), (20, 2), (4, 5), (12, 2))
LINEAR = (*VARIED, (16, 1), (10, 4), (6, 2))
SHAPES = ("odds", "cliff", "hazard", "power")
SEEDS = 3


def _share(shape: str, load: np.ndarray, limit: float) -> np.ndarray:
    past = (load - limit) / 4.0
    if shape == "odds":
        return np.asarray(1 / (1 + np.exp(past - 2.2)))
    if shape == "cliff":
        return np.clip(0.9 - past / 3, 0, 1)
    if shape == "hazard":
        return np.asarray(np.exp(-np.exp(past - 2.25)))
    return np.asarray(1 / (1 + (load / limit) ** (limit / 4) / 9))


def mixed(mixes: Sequence[tuple[int, int]], cost: float, *, shape: str = "odds", seed: int = 0) -> list[list[Visit]]:
    """Return visits of light and heavy users. The load of a moment, which both kinds share, swings by a tenth."""
    draw = np.random.default_rng(seed)
    kinds: list[list[Visit]] = [[], []]
    for place, mix in enumerate(mixes):
        start, swing, swings = place * (CYCLES * CYCLE_S + 5), 0.0, []
        for _ in range(CYCLES):
            swing = 0.3 * swing + float(draw.normal(0, 0.095))
            swings.append(swing)
        load = (mix[0] + cost * mix[1]) * np.exp(np.array(swings))
        for kind, (users, limit) in enumerate(zip(mix, LIMITS, strict=True)):
            moment = np.repeat(np.arange(CYCLES), users)
            kinds[kind].append(
                Visit(
                    sum(mix),
                    np.tile(np.arange(users), CYCLES) + 1000 * kind,
                    start + (moment + draw.random(len(moment))) * CYCLE_S,
                    draw.random(len(moment)) < _share(shape, load, limit)[moment],
                    np.zeros(len(moment), dtype=np.bool_),
                    start,
                    start + CYCLES * CYCLE_S,
                    people=users,
                )
            )
    return kinds


def found(mixes: Sequence[tuple[int, int]], cost: float, *, shape: str = "odds", seed: int = 0) -> MixCost | None:
    return mix_cost(mixed(mixes, cost, shape=shape, seed=seed), 1, 0, 0.9)


@pytest.mark.untraced
@pytest.mark.parametrize("shape", ["odds", *(pytest.param(name, marks=pytest.mark.long) for name in SHAPES[1:])])
def test_the_interval_contains_the_cost(shape: str) -> None:
    answers = [found(VARIED, 4.0, shape=shape, seed=seed) for seed in range(SEEDS)]
    known = [one for one in answers if one is not None]
    assert len(known) >= SEEDS - 1
    assert sum(one.low <= 4.0 <= one.high for one in known) >= len(known) - 1
    assert np.median([one.users for one in known]) == pytest.approx(4.0, rel=0.25)


@pytest.mark.long
def test_a_narrow_interval_is_no_coarser_than_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Visits of 20 minutes, and a cost between those that are tried first."""
    monkeypatch.setattr(f"{__name__}.CYCLES", 400)
    answers = [found(LINEAR, 2.144, seed=seed) for seed in range(6)]
    known = [one for one in answers if one is not None]
    assert len(known) >= 5
    assert sum(one.low <= 2.144 <= one.high for one in known) >= len(known) - 1
    assert all(one.low < one.users < one.high < 1.5 * one.low for one in known)
    assert np.mean([np.log(one.users / 2.144) for one in known]) == pytest.approx(0.0, abs=0.035)


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cost", [1.0, 2.0, 2.144, 4.0])
def test_at_least_19_of_20_intervals_contain_the_cost(cost: float, shape: str) -> None:
    known = [one for seed in range(100) if (one := found(VARIED, cost, shape=shape, seed=1000 + seed)) is not None]
    assert sum(one.low <= cost <= one.high for one in known) >= 0.95 * len(known)


@pytest.mark.parametrize(
    "mixes",
    [
        [(4 * n, n) for n in range(1, 9)],
        [(4 * n + n % 3, n) for n in range(1, 9)],
        [(4 * n, 2) for n in range(1, 9)],
        [(8, 1), (8, 5), (20, 2)],
    ],
    ids=["fixed share", "fixed share, rounded", "fixed number", "too few visits"],
)
def test_where_the_mix_does_not_vary_nothing_is_said(mixes: list[tuple[int, int]]) -> None:
    assert [found(mixes, 4.0, seed=seed) for seed in range(3)] == [None] * 3


def test_where_all_is_served_nothing_is_said() -> None:
    assert found([(3, 1), (3, 2), (6, 1), (1, 3), (2, 1), (9, 1)], 1.0) is None


def test_the_cost_is_the_same_from_either_side() -> None:
    kinds = mixed(VARIED, 4.0)
    heavy, light = mix_cost(kinds, 1, 0, 0.9), mix_cost(kinds, 0, 1, 0.9)
    assert heavy is not None
    assert light is not None
    assert light.users == pytest.approx(1 / heavy.users, rel=0.15)
    assert light.low == pytest.approx(1 / heavy.high, rel=0.15)


def test_a_third_kind_is_allowed_for() -> None:
    """Two users of the third kind always come along with some of the others."""
    mixes = [(8, 1, 2), (8, 3, 0), (8, 5, 1), (14, 1, 3), (14, 3, 1), (20, 1, 0), (20, 2, 2), (4, 5, 0), (12, 2, 4)]
    third = [(light + third, heavy) for light, heavy, third in mixes]
    kinds = mixed(third, 4.0)  # a third user costs as much as a light one
    is_third = [
        np.isin(visit.user, np.arange(mix[0], sum(mix[::2]))) for visit, mix in zip(kinds[0], mixes, strict=True)
    ]
    split = [
        [replace(visit.select(~own), people=mix[0]) for visit, own, mix in zip(kinds[0], is_third, mixes, strict=True)],
        kinds[1],
        [replace(visit.select(own), people=mix[2]) for visit, own, mix in zip(kinds[0], is_third, mixes, strict=True)],
    ]
    answer = mix_cost(split, 1, 0, 0.9)
    assert answer is not None
    assert answer.low <= 4.0 <= answer.high
