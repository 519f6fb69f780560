"""Short levels: what else another run could have shown, and that what is clear stays clear."""

import math

import numpy as np
import pytest
from queues import queue_run
from worlds import CHAT, evidence, reply, staircase, steady

from probe_ext.verdict.inference import slow_swings
from probe_ext.verdict.inference.slow_swings import LARGEST, NODES, WEIGHTS, error
from probe_ext.verdict.judge import judge

LEVELS, HOLD, RUNS = (8, 12, 16, 20, 24, 28), 30.0, 16
"""levels of about five replies a user: fewer than two blocks"""
SHARES = {20: 0.882, 24: 0.68}
"""The mean served share at two levels around the boundary, over 120 runs with seeds from 10,000 on."""


def covered() -> float:
    """How often the range of the served share holds its mean."""
    hits = []
    for seed in range(RUNS):
        verdict = judge(evidence(queue_run(LEVELS, HOLD, seed), staircase(*((u, HOLD) for u in LEVELS))), CHAT)
        for level in verdict.levels:
            if level.users in SHARES:
                assert level.served_share_low is not None
                assert level.served_share_high is not None
                hits.append(level.served_share_low <= SHARES[level.users] <= level.served_share_high)
    return float(np.mean(hits))


@pytest.mark.long
@pytest.mark.untraced
def test_short_levels_state_how_far_they_may_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert covered() >= 0.85, "95 % are claimed"
    monkeypatch.setattr(slow_swings, "ENOUGH", 0)
    assert covered() < 0.75, "drawing from a level's own few blocks says too little"


def test_what_is_far_from_its_bounds_stays_certain() -> None:
    """Waits of 0.1 to 0.3 s, three replies a user: twice as long would still be served."""
    rows = [reply(u, 6.0 + 4 * i, first=6.1 + 4 * i + 0.1 * (i % 3)) for i in range(4) for u in range(8)]
    (level,) = judge(evidence(rows, staircase((8, 25))), CHAT).levels
    assert level.state == "held"
    assert (level.served_share_low, level.served_share_high) == (1.0, 1.0)


def test_what_is_served_by_a_hair_in_a_short_level_is_not_certain() -> None:
    rows = [reply(u, 6.0 + 4 * i, first=6.0 + 4 * i + (0.95, 0.4, 0.7, 0.9)[i]) for i in range(4) for u in range(8)]
    verdict = judge(evidence(rows, staircase((8, 25))), CHAT)
    (level,) = verdict.levels
    assert level.state == "held"
    assert level.served_share_low is not None
    assert level.served_share_low < 0.95
    assert verdict.interval == (0, None)


def test_a_long_level_is_judged_by_its_own_blocks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = evidence(steady(4, 0, 130), staircase((4, 130)))
    before = judge(run, CHAT).to_json()
    monkeypatch.setattr(slow_swings, "ENOUGH", 0)
    assert judge(run, CHAT).to_json() == before


@pytest.mark.parametrize(
    ("values", "block", "natural", "expected"),
    [
        ([1.0, 1.0, 1.0, 1.0], [0, 1, 2, 3], 1.3, 0.0),
        ([0.9, 1.1], [0, 1], 1.0, 0.4),  # two blocks: Student's t is 12.7, and the most is allowed
        ([0.95, 1.05, 1.0, 1.0], [0, 1, 2, 3], 4.0, math.sqrt(0.005 / 3 * ((3.18 / 1.96) ** 2 / 4 - 3 / 16))),
        ([1.0, math.nan], [0, 1], 1.0, 0.0),
        ([], [], 1.0, 0.0),
        ([0.0, 0.0], [0, 1], 1.0, 0.0),
    ],
)
def test_the_error_of_a_levels_mean(values: list[float], block: list[int], natural: float, expected: float) -> None:
    found = error(np.array(values), np.array(block, dtype=np.int64), natural)
    assert found == pytest.approx(expected)
    assert found <= LARGEST


def test_three_factors_have_the_moments_of_a_normal_distribution() -> None:
    moments = [sum(w * node**k for w, node in zip(WEIGHTS, NODES, strict=True)) for k in range(6)]
    assert moments == pytest.approx([1, 0, 1, 0, 3, 0])
