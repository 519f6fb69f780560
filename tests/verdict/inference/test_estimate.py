"""The whole estimator: worked examples, invariances, degenerate input, and small checks of calibration."""

from dataclasses import replace

import numpy as np
import pytest
from runs import random_visit, step_after, sweep, visit

from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.observations import Visit
from probe_ext.verdict.values.capacity_estimate import Criteria
from scripts.study.stated.stated_truth import FINE, GENTLE, HARD, STEEP, StatedCase, draw_run

FALLING = {4: 1.0, 8: 0.99, 16: 0.96, 20: 0.91, 24: 0.8, 32: 0.5}
NAMED = {case.name: case for case in HARD}


def permuted(one: Visit, seed: int) -> Visit:
    order = np.random.default_rng(seed).permutation(len(one.sent))
    return Visit(one.users, one.user[order], one.sent[order], one.served[order], one.broken[order], one.start, one.end)


def test_falling_share_is_bracketed_and_placed() -> None:
    result = estimate(sweep(FALLING, seed=1))
    assert [level.state for level in result.levels][:2] == ["held", "held"]
    assert [level.state for level in result.levels][-2:] == ["failed", "failed"]
    assert result.placed_by_curve
    assert result.estimate == pytest.approx(20.5, abs=2)
    assert result.interval is not None
    low, high = result.interval
    assert high is not None
    assert low <= 20 <= high <= 24
    assert result.served_users == int(result.estimate or 0)


def test_parts_agree() -> None:
    for seed in range(30):
        result = estimate(draw_run(GENTLE, seed))
        held, failed = result.bracket
        assert result.interval is not None
        low, high = result.interval
        assert held is None or held <= low
        assert failed is None or (high is not None and high < failed)
        if result.estimate is not None:
            assert (held or 0) <= result.estimate
            assert failed is None or result.estimate < failed
        states = [level.state for level in result.levels]
        assert "held" not in states[states.index("failed") :] if "failed" in states else True
        assert all(bool(level.reasons) == (level.state == "unproven") for level in result.levels)


def test_order_of_replies_and_visits_does_not_matter() -> None:
    run = draw_run(GENTLE, 1)
    shuffled = [permuted(one, seed) for seed, one in enumerate(reversed(run))]
    assert estimate(shuffled) == estimate(run)


def test_names_of_users_do_not_matter() -> None:
    run = draw_run(NAMED["a quarter at 0.3"], 1)
    renamed = [replace(one, user=1000 - 7 * one.user) for one in run]
    one, other = estimate(run), estimate(renamed)
    assert [level.state for level in one.levels] == [level.state for level in other.levels]
    assert one.interval == other.interval


def test_splitting_a_visit_changes_little() -> None:
    run = sweep(FALLING)
    halves = []
    for one in run:
        middle = (one.start + one.end) / 2
        halves += [
            replace(one.select(one.sent < middle), end=middle),
            replace(one.select(one.sent >= middle), start=middle),
        ]
    whole, split = estimate(run), estimate(halves)
    assert whole.estimate == pytest.approx(split.estimate, rel=0.05)
    assert [level.state for level in whole.levels][-2:] == [level.state for level in split.levels][-2:]


def test_same_input_gives_the_same_result() -> None:
    assert estimate(draw_run(STEEP, 3)) == estimate(draw_run(STEEP, 3))


def test_more_served_replies_never_lower_the_share_fit() -> None:
    worse, better = estimate(sweep(FALLING)), estimate(sweep({**FALLING, 20: 1.0}))
    assert all(b.share_fit >= a.share_fit - 1e-9 for a, b in zip(worse.levels, better.levels, strict=True))


def test_search_that_looks_often_proves_less() -> None:
    once, often = estimate(draw_run(STEEP, 2)), estimate(draw_run(STEEP, 2), critical=3.5)
    assert sum(level.state == "unproven" for level in often.levels) > sum(
        level.state == "unproven" for level in once.levels
    )


def test_no_visits() -> None:
    result = estimate([])
    assert (result.levels, result.interval, result.served_users, step_after(result)) == ((), None, None, None)


@pytest.mark.parametrize("users", [1, 2])
@pytest.mark.parametrize("fate", [True, False])
def test_three_replies_prove_nothing_good(users: int, fate: bool) -> None:
    result = estimate([visit(users, [fate] * 3)])
    assert result.levels[0].state != "held"
    assert result.suggestion is not None


def test_lowest_level_that_fails_leaves_the_rest_unmeasured() -> None:
    result = estimate([visit(8, [False] * 80), visit(16, [False] * 160, start=50.0)])
    assert (result.bracket, result.served_users, result.interval) == ((None, 8), None, (0, 7))
    step = step_after(result)
    assert step is not None
    assert (step.users < 8, step.reason) == (True, "below")


def test_one_user_who_is_not_served_means_none() -> None:
    result = estimate([visit(1, [False] * 40), visit(2, [False] * 80, start=50.0)])
    assert (result.served_users, result.interval) == (0, (0, 0))


def test_everything_served_leaves_the_top_open() -> None:
    result = estimate([visit(users, [True] * users * 20, start=i * 50.0) for i, users in enumerate((4, 8, 16))])
    assert result.bracket == (16, None)
    assert result.interval == (16, None)
    step = step_after(result)
    assert step is not None
    assert (step.users, step.reason) == (32, "above")


def test_gap_without_a_curve_answers_with_what_is_proven() -> None:
    result = estimate([visit(8, [True] * 240), visit(16, [False] * 480, start=50.0)])
    assert (result.bracket, result.interval, result.served_users) == ((8, 16), (8, 15), 8)
    assert not result.placed_by_curve


def test_all_or_nothing_is_proven() -> None:
    fates = {1: True, 2: True, 3: False, 4: False}
    result = estimate([visit(n, [fate] * n * 50, start=n * 50.0) for n, fate in fates.items()])
    assert (result.bracket, result.interval, result.served_users) == ((2, 3), (2, 2), 2)
    assert step_after(result) is None


def test_hand_ramp_of_short_bands() -> None:
    result = estimate(draw_run(NAMED["hand ramp"], 4))
    assert result.dispersion.source == "ramp"
    assert result.interval is not None
    assert result.interval[0] <= 21


def test_broken_replies_fail_a_level() -> None:
    broken = np.arange(400) % 10 == 0
    fine = visit(10, [True] * 400)
    bad = visit(20, ~broken, broken=broken, start=50.0)
    result = estimate([fine, bad])
    assert result.levels[1].state == "failed"
    assert result.levels[1].broken_share == pytest.approx(0.1)
    assert result.levels[1].broken_high > 0.1


def test_one_broken_reply_asks_for_proof_of_few() -> None:
    broken = np.zeros(60, dtype=np.bool_)
    broken[30] = True
    level = estimate([visit(6, ~broken, broken=broken)]).levels[0]
    assert level.state == "unproven"
    assert "broken_bound" in level.reasons


def test_users_who_differ_are_grouped_and_each_group_has_its_capacity() -> None:
    result = estimate(draw_run(NAMED["a quarter at 0.3"], 2))
    assert result.users_differ
    assert result.estimate is None
    assert result.groups is not None
    assert result.groups.worse_users == pytest.approx(8, abs=2)
    assert result.groups.others_interval is not None
    assert result.groups.others_interval[1] is None
    assert result.bracket[0] is None


def test_users_who_differ_at_more_users_leave_a_level_alone_where_all_were_served() -> None:
    rng = np.random.default_rng(5)
    user = np.arange(16 * 15) % 16
    above = visit(16, rng.random(len(user)) < np.where(user < 4, 0.3, 0.97), start=50.0)
    result = estimate([visit(2, [True] * 6), above])
    assert result.users_differ
    lowest = result.levels[0]
    assert (lowest.state, lowest.reasons) == ("unproven", ("too_few_replies",))
    assert lowest.replies_needed


def test_too_few_replies_come_before_users_who_differ() -> None:
    """All nine replies at 17 users were served: that users differ at 16 says less than that there are only nine."""
    user = np.arange(16 * 20) % 16
    below = visit(16, (user > 1) | (np.arange(320) // 16 % 2 > 0))
    differing, early = estimate([below, visit(17, [True] * 9, start=50.0)]).levels
    assert early.reasons == ("too_few_replies", "users_differ")
    assert differing.reasons[0] == "users_differ"


def test_no_level_is_suggested_at_which_some_are_worse_off() -> None:
    """Most are served at 16 users, but 2 of them are not: what is suggested is 8."""
    user = np.arange(16 * 20) % 16
    above = visit(16, (user > 1) | (np.arange(320) // 16 % 2 > 0), start=50.0)
    found = estimate([visit(8, [True] * 8), above, visit(32, [False] * 64, start=100.0)])
    assert (found.levels[1].state, found.levels[2].state) == ("unproven", "failed")
    assert found.levels[1].served_share > 0.9
    assert found.suggestion is not None
    assert found.suggestion.users == 8


def test_small_minority_does_not_take_the_level_down() -> None:
    result = estimate(draw_run(NAMED["3 % at 0.3"], 1))
    assert result.users_differ
    assert result.bracket[1] is None
    assert (result.bracket[0] or 0) >= 64


def test_stricter_criteria_lower_the_estimate() -> None:
    run = sweep(FALLING)
    usual, strict = estimate(run), estimate(run, Criteria(served_share=0.95))
    assert usual.estimate is not None
    assert strict.estimate is not None
    assert strict.estimate < usual.estimate


def test_more_time_is_asked_for_where_the_level_is_near_the_limit() -> None:
    near = estimate([random_visit(10, 100, 0.93, seed=3)]).levels[0]
    far = estimate([random_visit(10, 40, 0.99, seed=3)]).levels[0]
    assert near.replies_needed is None or far.replies_needed is None or near.replies_needed > far.replies_needed


@pytest.mark.untraced
@pytest.mark.parametrize(
    "case",
    [
        STEEP,
        NAMED["neighbour's 20 s"],
        *(pytest.param(one, marks=pytest.mark.long) for one in (GENTLE, FINE, NAMED["flat 0.92"])),
    ],
    ids=lambda case: case.name,
)
def test_calibration_in_the_small(case: StatedCase) -> None:
    results = [estimate(draw_run(case, 9000 + seed)) for seed in range(40)]
    false_failed = sum(any(one.state == "failed" and case.holds(one.users) for one in r.levels) for r in results)
    false_held = sum(any(one.state == "held" and not case.holds(one.users) for one in r.levels) for r in results)
    covered = sum(
        r.interval is not None
        and r.interval[0] <= case.capacity
        and (r.interval[1] is None or case.capacity <= r.interval[1])
        for r in results
    )
    assert false_failed <= 4
    assert false_held <= 3
    assert covered >= 35


def test_what_a_level_needs_covers_the_proof_that_few_replies_break() -> None:
    """All replies were served, but some broke at more users: the served share alone would take far fewer."""
    broken = np.arange(60) % 30 == 0
    all_served, slow = visit(4, [True] * 25), visit(16, np.zeros(60, dtype=np.bool_), broken=broken, start=50.0)
    low = estimate([all_served, slow]).levels[0]
    alone = estimate([all_served]).levels[0]
    assert (low.reasons, alone.reasons) == (("broken_bound",), ("too_few_replies",))
    assert low.replies_needed
    assert alone.replies_needed
    assert low.replies_needed > 2 * alone.replies_needed


def test_a_level_that_needs_more_than_an_hour_is_said_to_need_no_time() -> None:
    near = estimate([visit(8, np.arange(64) % 11 != 0)]).levels[0]
    assert near.served_share == pytest.approx(0.9, abs=0.01)
    assert (near.state, near.replies_needed, near.seconds_needed) == ("unproven", None, None)
