"""The interval: does it cover the truth about as often as it claims?"""

import numpy as np
import pytest
from queues import queue_run
from worlds import CHAT, evidence, reply, staircase, steady

from probe_ext.verdict.inference.blocks import BLOCKS, MOST_BLOCKS, block_count
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.judgement import Judgement

LEVELS = (8, 12, 16, 20, 24, 28)
HOLD = 150.0
TRUTH = 20
"""The highest level at which at least 95 % of the people are served on average over many runs of this length: over
300 runs with seeds from 10,000 on, 96.6 % at 20 and 57.5 % at 24. Their intervals covered it in all of the 300, the
bare figure was right in 76 % of them."""
RUNS = 24


def judged(seed: int) -> Judgement:
    run = evidence(queue_run(LEVELS, HOLD, seed), staircase(*((users, HOLD) for users in LEVELS)))
    return judge(run, CHAT)


@pytest.mark.long
@pytest.mark.untraced
def test_the_interval_covers_the_truth_about_as_often_as_it_claims() -> None:
    verdicts = [judged(seed) for seed in range(RUNS)]
    intervals = [verdict.interval for verdict in verdicts]
    assert all(interval is not None for interval in intervals)
    covered = [i[0] <= TRUTH and (i[1] is None or i[1] >= TRUTH) for i in intervals if i]
    assert np.mean(covered) >= 0.85, "95 % are claimed; so many runs of an honest interval stay above this"
    exact = [verdict.served_users == TRUTH for verdict in verdicts]
    assert np.mean(exact) < 0.85, "the bare figure would not pass this test"


def test_what_is_clear_has_no_wider_interval_than_was_left_unmeasured() -> None:
    rows = steady(4, 0, 60) + [reply(u, 65.5 + 3 * i, first=65.5 + 3 * i + 5) for i in range(17) for u in range(8)]
    assert judge(evidence(rows, staircase((4, 60), (8, 60))), CHAT).interval == (4, 7)


def test_a_level_on_the_edge_widens_the_interval() -> None:
    """One user of twenty-two lost: 95.5 % hold, but with other users, or at other moments, they might not."""
    edge = [reply(u, 65.5 + 3 * i, first=65.5 + 3 * i + (5.0 if u == 0 else 0.1)) for i in range(17) for u in range(22)]
    verdict = judge(evidence(steady(8, 0, 60) + edge, staircase((8, 60), (22, 60))), CHAT)
    assert verdict.served_users == 22
    assert verdict.interval == (8, None)
    assert verdict.levels[1].served_share_low is not None
    assert verdict.levels[1].served_share_low < 0.95 < (verdict.levels[1].served_share_high or 0)


@pytest.mark.parametrize(
    ("replies", "people", "blocks"), [(30, 10, BLOCKS), (300, 10, 10), (10**6, 1, MOST_BLOCKS), (1, 1, BLOCKS)]
)
def test_blocks_hold_about_three_replies_a_user(replies: int, people: int, blocks: int) -> None:
    assert block_count(replies, people) == blocks
