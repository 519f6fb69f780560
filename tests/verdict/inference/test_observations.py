"""Which replies count, and how they are put together."""

import numpy as np
from runs import random_visit, visit

from probe_ext.verdict.inference.observations import (
    counts_towards_level,
    cut_into_blocks,
    group_by_users,
    visit_from_grades,
)


def test_replies_of_the_last_second_do_not_count() -> None:
    assert counts_towards_level(np.array([8.0, 9.0, 9.1]), 10.0, 1.0).tolist() == [True, True, False]


def test_open_reply_within_all_bounds_counts_as_served() -> None:
    grades = np.array([-1, 0, 1, 2, -1], dtype=np.int8)
    made = visit_from_grades(5, np.arange(5), np.array([1.0, 2.0, 3.0, 4.0, 9.5]), grades, (0.0, 10.0), 1.0)
    assert made.served.tolist() == [True, True, False, False]
    assert made.broken.tolist() == [False, False, False, True]


def test_block_holds_about_one_reply_of_each_user() -> None:
    blocks = cut_into_blocks(random_visit(8, 83, 0.9, seed=1))
    assert blocks.replies.sum() == 83
    assert len(blocks.replies) == 10
    assert set(blocks.replies) == {8, 9}


def test_long_visit_has_at_most_sixty_blocks() -> None:
    assert len(cut_into_blocks(random_visit(2, 1000, 0.9, seed=1)).replies) == 60


def test_levels_rise_and_keep_visits_in_time_order() -> None:
    later, earlier, other = (visit(8, [True] * 8, start=start) for start in (90.0, 10.0, 50.0))
    levels = group_by_users([later, visit(4, [True] * 4), earlier, other, visit(2, [])])
    assert [level.users for level in levels] == [4, 8]
    assert [one.start for one in levels[1].visits] == [10.0, 50.0, 90.0]
