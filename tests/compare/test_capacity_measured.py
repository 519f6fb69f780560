"""The capacity that is compared, by the replies of a set-up's visits."""

import numpy as np
import pytest

from probe_ext.compare.capacity_measured import capacity_by_replies
from probe_ext.verdict.inference.observations import Visit
from probe_ext.verdict.values.capacity_estimate import Criteria


def visit(users: int, start: float, share: float, replies_each: int = 30) -> Visit:
    count = users * replies_each
    served = np.arange(count) % 100 < 100 * share
    sent = start + np.linspace(0, 29, count)
    return Visit(users, np.arange(count) % users, sent, served, np.zeros(count, dtype=np.bool_), start, start + 30)


def test_a_capacity_of_which_only_the_bracket_is_known_is_the_largest_proven_number() -> None:
    found = capacity_by_replies([visit(32, 0, 1.0), visit(64, 40, 0.0)], Criteria(), None)
    assert found is not None
    assert found.point == 32
    assert found.left_open == (32, 63)
    assert found.limits(0.025) == (32, 63)


@pytest.mark.parametrize(("levels", "expected"), [((32, 64), (32, 63)), ((32, 40, 64), (40, 63))])
def test_what_no_reply_would_narrow_is_the_gap_between_levels(
    levels: tuple[int, ...], expected: tuple[int, int]
) -> None:
    visits = [visit(users, 40.0 * i, 1.0 if users < 64 else 0.0) for i, users in enumerate(levels)]
    found = capacity_by_replies(visits, Criteria(), None)
    assert found is not None
    assert found.left_open == expected


def test_without_a_judged_reply_there_is_none() -> None:
    assert capacity_by_replies([], Criteria(), None) is None
