"""Finding levels: plateaus, settling time, and ramps without plateaus."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import columns, staircase

from probe_ext.measure.table_rows import UserRow
from probe_ext.verdict.levels.bands import cut_bands
from probe_ext.verdict.levels.find_levels import Level, assign_replies, find_levels

PLAN = {"levels": [2, 4], "hold": 30.0, "settle": 5.0, "min_replies": 3}


def found(rows: list[UserRow], plan: dict | None = None, last_sent: float | None = None) -> list[Level]:
    return find_levels(columns(rows, UserRow), plan, last_sent)


def spans(levels: list[Level]) -> list[tuple[int, float, float]]:
    return [(level.users, level.t_start, level.t_end) for level in levels]


def test_a_level_is_a_constant_count_without_its_settling_time() -> None:
    rows = staircase((2, 30), (3, 1), (4, 30))
    assert spans(found(rows, PLAN)) == [(2, 5.0, 29.0), (4, 35.0, 60.0)]


def test_the_plans_settling_time_is_used() -> None:
    assert spans(found(staircase((2, 30)), {**PLAN, "settle": 0.0})) == [(2, 0.0, 29.0)]
    assert spans(found(staircase((2, 30)), {"settle": "later"})) == [(2, 5.0, 29.0)]


def test_counts_on_the_way_to_a_planned_level_are_not_levels() -> None:
    assert [level.users for level in found(staircase((2, 30), (3, 12), (4, 30)), PLAN)] == [2, 4]


def test_a_ramp_has_levels_where_it_pauses() -> None:
    levels = found(staircase((1, 20), (2, 1), (3, 1), (4, 25), (5, 8), (6, 30)))
    assert [level.users for level in levels if not level.band] == [1, 4, 6]


def test_rows_only_at_changes_are_steps() -> None:
    rows = [UserRow(0.0, 2, None, "running"), UserRow(30.0, 4, None, "running"), UserRow(60.0, 4, None, "stopping")]
    assert spans(found(rows, PLAN)) == [(2, 5.0, 30.0), (4, 35.0, 60.0)]


def test_the_last_count_lasts_until_the_last_reply_was_sent() -> None:
    rows = [UserRow(0.0, 2, None, "running")]
    assert spans(found(rows, PLAN, last_sent=42.0)) == [(2, 5.0, 42.0)]


def test_a_stopping_run_has_no_level() -> None:
    rows = [*staircase((2, 30)), *(UserRow(30.0 + s, 2, None, "stopping") for s in range(1, 40))]
    assert spans(found(rows, PLAN)) == [(2, 5.0, 29.0)]


def test_no_users_no_levels() -> None:
    assert found([]) == found([UserRow(0.0, 0, None, "ready")]) == found(staircase((0, 60))) == []


def test_a_ramp_without_plateaus_is_cut_into_bands() -> None:
    levels = found(staircase(*((n, 1) for n in range(1, 61))))
    assert levels
    assert all(level.band for level in levels)
    assert all(level.seconds >= 5 for level in levels)
    wide = [level for level in levels if level.users_high > level.users_low + max(1, 0.1 * level.users_low)]
    assert all(level.seconds <= 7 for level in wide), "wider than 10 % only to last 5 s"
    assert all(a.users_high < b.users_low for a, b in itertools.pairwise(levels))


def test_a_planned_run_has_no_bands() -> None:
    assert found(staircase(*((n, 1) for n in range(1, 61))), PLAN) == []


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 8)), min_size=1, max_size=40))
def test_bands_do_not_overlap_and_stay_within_their_ramp(steps: list[tuple[int, int]]) -> None:
    ramp, t, users = [], 0.0, 0
    for more, seconds in steps:
        users += more
        ramp.append((t, t + seconds, users))
        t += seconds
    bands = cut_bands(ramp)
    assert all(band.end - band.start >= 5 and band.low <= band.high for band in bands)
    assert all(a.end <= b.start and a.high < b.low for a, b in itertools.pairwise(bands))


def test_a_reply_belongs_to_the_level_in_which_it_was_sent() -> None:
    levels = found(staircase((2, 30), (4, 31)), PLAN)
    sent = np.array([1.0, 5.0, 29.0, 29.5, 34.0, 60.0, 61.0, np.nan])
    assert assign_replies(sent, levels).tolist() == [-1, 0, 0, -1, 1, 1, -1, -1]


def test_without_levels_everything_is_outside() -> None:
    assert assign_replies(np.array([1.0, 2.0]), []).tolist() == [-1, -1]


def test_unreadable_samples_are_skipped() -> None:
    rows = staircase((2, 30))
    table = {name: values.copy() for name, values in columns(rows, UserRow).items()}
    table["users"][[3, 7]] = np.nan
    assert spans(find_levels(table, PLAN, None)) == [(2, pytest.approx(5.0), pytest.approx(29.0))]


def test_a_fall_starts_a_new_ramp() -> None:
    up = [(n, 2) for n in range(1, 16)]
    levels = found(staircase(*up, (3, 2), *((n, 2) for n in range(4, 16))))
    assert all(level.band for level in levels)
    assert all(level.users_low <= level.users_high for level in levels)
    assert min(level.users_low for level in levels if level.t_start >= 29) == 3


def test_replies_sent_while_a_worker_was_out_of_contact_belong_to_no_level() -> None:
    """Out of contact at 40 s, noticed at 45 s, back at 60 s: four users all the time, but counted as two."""
    table = columns(staircase((4, 45), (2, 15), (4, 40)), UserRow)
    plan = {**PLAN, "levels": [4, 2]}
    careless = spans(find_levels(table, plan, None))
    assert [users for users, *_ in careless] == [4, 2, 4]
    found_ = spans(find_levels(table, plan, None, [(40.0, 60.0)]))
    assert found_ == [
        (4, pytest.approx(5.0), pytest.approx(40.0)),
        (4, pytest.approx(65.0), pytest.approx(99.0, abs=1)),
    ]


def test_users_of_a_killed_worker_count_until_its_last_contact() -> None:
    """Killed at 40 s, counted out at 45 s: the rest is a level of its own."""
    table = columns(staircase((4, 45), (2, 30)), UserRow)
    plan = {**PLAN, "levels": [4, 2]}
    found_ = spans(find_levels(table, plan, None, [(40.0, None)]))
    assert [users for users, *_ in found_] == [4, 2]
    assert found_[0][2] == pytest.approx(40.0)
    assert found_[1][1] == pytest.approx(45.0 + 5.0, abs=1.5)


def test_an_absence_outside_every_stretch_changes_nothing() -> None:
    table = columns(staircase((4, 45)), UserRow)
    assert find_levels(table, PLAN, None, [(100.0, 110.0), (200.0, None)]) == find_levels(table, PLAN, None)
