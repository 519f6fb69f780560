"""How long a search will go on: counted down, not recomputed at every look."""

from itertools import pairwise

import pytest

from probe_ext.load.time_left import TimeLeft, seconds_to_narrow


def test_it_counts_down_while_the_interval_stays() -> None:
    left = TimeLeft()
    told: list[float] = []
    for now in range(120, 150):
        left.update(now, seconds_to_narrow(now, 12, 4))
        told.append(left.seconds(now) or 0.0)
    assert told[0] == seconds_to_narrow(120, 12, 4)
    assert told == pytest.approx([told[0] - passed for passed in range(30)])


def test_an_interval_that_flickers_does_not_make_it_jump() -> None:
    left = TimeLeft()
    told = []
    for now in range(120, 160):
        left.update(now, seconds_to_narrow(now, 12 if now % 2 else 15, 4))
        told.append(left.seconds(now) or 0.0)
    assert all(after < before for before, after in pairwise(told))


def test_other_evidence_revises_it() -> None:
    left = TimeLeft()
    left.update(120.0, seconds_to_narrow(120, 12, 4))
    left.update(121.0, seconds_to_narrow(121, 5, 4))
    assert left.seconds(121.0) == pytest.approx(seconds_to_narrow(121, 5, 4))
    left.update(122.0, None)
    assert left.seconds(122.0) is None


def test_time_that_is_up_without_an_end_is_counted_anew() -> None:
    left = TimeLeft()
    left.update(100.0, 60.0)
    left.update(160.0, 80.0)
    assert left.seconds(160.0) == 80.0
