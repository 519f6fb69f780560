"""Visits to one level: do they differ by more than stretches of one visit do?"""

from collections.abc import Sequence

import numpy as np
import pytest
from runs import visit

from probe_ext.verdict.inference.dispersion import pool, visit_sums
from probe_ext.verdict.inference.disturbances import compare_visits
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.observations import Level, Visit, level_of

RUNS = 200
USERS = 12
SHAPE = (3, 3, 4, 5, 3)
"""blocks of each visit, as in a search that was interrupted"""


def differing(level: Level) -> tuple[list[int], list[int]]:
    sums = visit_sums([level])
    return compare_visits(sums, pool(sums, 0.9))


def clumped(rng: np.random.Generator, share: float, icc: float, lag: float) -> Level:
    """Return visits of one server: each block has a share of its own, which resembles that of the block before it."""
    of_blocks = share * np.ones(4000) if not icc else rng.beta(share * (1 / icc - 1), (1 - share) * (1 / icc - 1), 4000)
    of_blocks.sort()
    visits = []
    for place, blocks in enumerate(SHAPE):
        level, fates = rng.standard_normal(), []
        for _ in range(blocks):
            fates.append(rng.random(USERS) < np.quantile(of_blocks, _below(level)))
            level = lag * level + np.sqrt(1 - lag**2) * rng.standard_normal()
        visits.append(visit(USERS, np.concatenate(fates), start=100.0 * place))
    return level_of(USERS, visits)


def _below(z: float) -> float:
    return float(1 / (1 + np.exp(-1.702 * z)))  # nearly the normal distribution


def visits_of(shares: Sequence[float], rng: np.random.Generator) -> list[Visit]:
    return [visit(USERS, rng.random(4 * USERS) < p, start=100.0 * place) for place, p in enumerate(shares)]


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("share", "icc", "lag"),
    [
        *((0.5, 0.0, 0.0), (0.9, 0.4, 0.5)),
        *(
            pytest.param(share, *how, marks=pytest.mark.long)
            for share in (0.5, 0.9)
            for how in ((0.0, 0.0), (0.1, 0.3), (0.4, 0.0), (0.4, 0.5))
            if (share, *how) not in {(0.5, 0.0, 0.0), (0.9, 0.4, 0.5)}
        ),
    ],
)
def test_visits_of_a_steady_server_are_seldom_said_to_differ(share: float, icc: float, lag: float) -> None:
    """However replies cling together within a visit, in at most 2.5 % of runs of one level."""
    said = 0
    for seed in range(RUNS):
        level = clumped(np.random.default_rng(seed), share, icc, lag)
        said += bool(differing(level)[0])
    assert said / RUNS <= 0.025


def test_independent_replies_make_no_visits_uneven_either() -> None:
    said = 0
    for seed in range(RUNS):
        level = level_of(USERS, visits_of([0.7] * 5, np.random.default_rng(seed)))
        said += any(differing(level))
    assert said / RUNS <= 0.025


def test_visits_that_go_back_and_forth_are_found() -> None:
    """The first and the last are alike, so comparing those two shows nothing."""
    runs = [estimate(visits_of((0.44, 1.0, 1.0, 0.31, 0.42), np.random.default_rng(seed))) for seed in range(40)]
    assert sum(found.unsteady == (USERS,) for found in runs) >= 32
    assert all((*found.unsteady, *found.uneven, *found.drift) == (USERS,) for found in runs), "none is said to agree"


def test_visits_no_further_apart_than_stretches_of_one_are_called_uneven() -> None:
    """Seen of stretches, each all served or hardly any: visits with more of the one kind are no news."""
    stretches = ((1, 0, 1, 1), (0, 0, 1, 0), (1, 1, 0, 1), (0, 1, 0, 0))
    runs = [np.repeat(np.array(one, dtype=np.bool_), USERS) for one in stretches]
    visits = [visit(USERS, fates, start=100.0 * place) for place, fates in enumerate(runs)]
    found = estimate(visits)
    assert (found.unsteady, found.uneven) == ((), (USERS,))


@pytest.mark.parametrize("served", [[True] * 36, [False] * 36, [True]])
def test_nothing_to_compare(served: list[bool]) -> None:
    visits = [visit(USERS, served, start=100.0 * place) for place in range(2)]
    level = level_of(USERS, visits)
    assert differing(level) == ([], [])
    assert differing(level_of(USERS, visits[:1])) == ([], [])
