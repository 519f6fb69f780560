"""The answer in words, cold: what a reader sees who knows nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from probe_ext.verdict.phrasing.plurals import listed, things
from probe_ext.verdict.values.capacity_estimate import (
    CapacityEstimate,
    Dispersion,
    GroupCapacity,
    LevelEstimate,
    Reason,
    SharedTrait,
    Suggestion,
    UserGroup,
)
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.json_types import Bracket, Interval, State
from probe_ext.verdict.wording.headline import Context, answer
from probe_ext.verdict.wording.next_run import NextMeasurement
from probe_ext.verdict.wording.unproven_level import reason_in_words

NOBODY_STILL = "the number of users was never constant long enough to measure anything"


def level(users: int, state: State = "held", reason: Reason | None = None, **changes: Any) -> LevelEstimate:
    reasons: tuple[Reason, ...] = (reason or "too_close",) if state == "unproven" else ()
    made = LevelEstimate(
        users=users, visits=1, replies=20 * users, seconds=30.0, served_share=0.9, share_low=0.8, share_high=0.95,
        share_fit=0.9, broken_share=0.0, broken_high=0.01, state=state, reasons=reasons, users_differ=False,
        worse_group=None, replies_needed=None, seconds_needed=None,
    )  # fmt: skip
    return replace(made, **changes)


def estimate(
    levels: Sequence[LevelEstimate],
    bracket: Bracket,
    interval: Interval | None = None,
    served: int | None = None,
    **changes: Any,
) -> CapacityEstimate:
    made = CapacityEstimate(
        levels=tuple(levels), estimate=None, interval=interval, bracket=bracket, served_users=served, suggestion=None,
        dispersion=Dispersion(1.0, 8.0, 0.3, 0.1, "prior"), drift=(), contradictions=(), disturbed=(),
        users_differ=False, groups=None, placed_by_curve=False,
    )  # fmt: skip
    return replace(made, **changes)


def settling(*users: int, hold: float) -> NextMeasurement:
    """Return a measurement of these levels that should settle them."""
    return NextMeasurement(users, hold, targets=users, settles=users)


def said(
    estimated: CapacityEstimate,
    first_limit: str | None = None,
    *,
    more: NextMeasurement | None = None,
    findings: Sequence[Finding] = (),
    bounds: Sequence[str] = (),
) -> str:
    return answer(estimated, Context(first_limit, 0.9, findings, bounds, NOBODY_STILL, more)).sentence


PLACED = estimate(
    [level(40), level(44, "unproven"), level(48, "failed")], (40, 48), (43, 46), 44, estimate=44.6, placed_by_curve=True
)
HELD = estimate([level(8)], (8, None), (8, None), 8)


@pytest.mark.parametrize(
    ("estimated", "limit", "expected"),
    [
        (PLACED, "typing",
         ("About 44 people can use this at once (95 %: 43 to 46). Typing speed is the first limit. "
         "40 holds, 48 fails, 44 is too close to call.")),
        (estimate([level(8), level(16, "failed")], (8, 16), (8, 15), 8), "first_word",
         ("At least 8 people can use this at once; 16 are too many. The wait for the first word is the first limit. "
         "The range between was not measured.")),
        (estimate([level(1), level(2, "failed")], (1, 2), (1, 1), 1), "silence",
         "1 person can use this at once; 2 are too many. Silent pauses are the first limit."),
        (estimate([level(8), level(9, "unproven"), level(10, "failed")], (8, 10), (8, 9), 8), None,
         ("At least 8 people can use this at once; 10 are too many. Several dimensions together are the first limit. "
         "9 is too close to call.")),
        (HELD, None, "At least 8 people can use this at once. More were not tried."),
        (estimate([level(1000)], (1000, None), (1000, None), 1000), None,
         "At least 1,000 people can use this at once. More were not tried."),
        (estimate([level(1, "failed")], (None, 1), (0, 0), 0), "answer",
         "Not even 1 person is served. Failed or late answers are the first limit."),
        (estimate([level(8, "failed")], (None, 8), (0, 7)), "typing",
         "8 people at once are too many. Typing speed is the first limit. Fewer were not tried."),
        (estimate([], (None, None)), None,
         "No answer: the number of users was never constant long enough to measure anything."),
    ],
)  # fmt: skip
def test_answer(estimated: CapacityEstimate, limit: str | None, expected: str) -> None:
    assert said(estimated, limit) == expected


@pytest.mark.parametrize(
    ("guess", "more", "expected"),
    [
        (Suggestion(16, 8, 24), settling(16, hold=120.0),
         "Probably about 16 people (95 %: 8 to 24), not proven: a run of about 2 minutes at 16 users would settle it."),
        (Suggestion(16, 0, None), settling(16, hold=50.0),
         "Probably at least 16 people, not proven: a run of about 1 minute at 16 users would settle it."),
        (Suggestion(1, 0, 1), None, "Probably about 1 person (95 %: 0 to 1), not proven."),
        (Suggestion(0, 0, None), NextMeasurement(),
         "Probably fewer than 16 people, not proven; a search would show more."),
        (Suggestion(18, 0, None), settling(16, hold=60.0),
         "Probably at least 18 people, not proven: a run of about 1 minute at 16 users would show more."),
    ],
)  # fmt: skip
def test_run_that_proves_nothing_still_says_what_it_suggests(
    guess: Suggestion, more: NextMeasurement | None, expected: str
) -> None:
    open_levels = estimate(
        [level(16, "unproven", seconds_needed=60.0)], (None, None), (guess.low, guess.high), suggestion=guess
    )
    assert said(open_levels, more=more) == expected


def test_search_that_was_ended_early_leads_with_its_estimate_and_interval() -> None:
    levels = [level(8, "unproven", seconds_needed=60.0), level(12, "failed")]
    ended = estimate(levels, (None, 12), (2, 11), suggestion=Suggestion(8, 2, 11))
    longer = NextMeasurement(which_search="a longer search")
    assert said(ended, "typing", more=longer) == (
        "Probably about 8 people (95 %: 2 to 11), not proven; a longer search would show more. "
        "12 are too many. Typing speed is the first limit."
    )


def test_no_number_is_read_off_a_line_between_levels_far_apart() -> None:
    """A search that ends on its way up has measured 1 and 256: a number between them would be made up."""
    levels = [level(1, "unproven"), level(256, "failed")]
    ended = estimate(levels, (None, 256), (0, 255), suggestion=Suggestion(26, 0, 255))
    assert said(ended, "answer", more=NextMeasurement(which_search="a longer search")) == (
        "Probably between 1 and 255 people, not proven; a longer search would show more. "
        "256 are too many. Failed or late answers are the first limit."
    )


def test_an_interval_narrower_than_the_levels_around_it_is_not_hidden_by_them() -> None:
    levels = [level(4, "unproven"), level(32, "failed")]
    ended = estimate(levels, (None, 32), (10, 14), suggestion=Suggestion(12, 10, 14))
    assert said(ended, "answer").startswith("Probably about 12 people (95 %: 10 to 14), not proven")


@pytest.mark.parametrize(
    ("levels", "guess", "limits"),
    [
        ((8, 16), Suggestion(12, 10, 14), "10 to 14"),
        ((8, 16), Suggestion(16, 8, None), "8 or more"),
        ((1, 256), Suggestion(26, 0, 255), ""),
        ((8, 16), Suggestion(0, 0, 7), ""),
    ],
)
def test_the_answer_knows_whether_it_names_the_suggested_number(
    levels: tuple[int, int], guess: Suggestion, limits: str
) -> None:
    open_levels = [level(users, "unproven") for users in levels]
    suggested = estimate(open_levels, (None, None), (guess.low, guess.high), suggestion=guess)
    found = answer(suggested, Context(None, 0.9, (), (), NOBODY_STILL, settling(guess.users, hold=720.0)))
    assert (found.interval, found.names_suggestion) == (limits, bool(limits))


def test_level_above_the_proven_one() -> None:
    levels = [level(8), level(12, "unproven"), level(16, "unproven", "too_few_replies")]
    both = estimate(levels, (8, None), (8, None), 8)
    assert said(both, more=settling(16, hold=90.0)) == (
        "At least 8 people can use this at once. 12 is too close to call, 16 has too few replies to tell: "
        "a run of about 2 minutes at 16 users would settle 16."
    )
    assert said(both, more=NextMeasurement()).endswith("16 has too few replies to tell; a search would show more.")
    longer = NextMeasurement(which_search="a longer search")
    assert said(both, more=longer).endswith("; a longer search would show more.")


def test_levels_that_need_a_second_visit() -> None:
    needs = level(8, "unproven", "needs_second_visit")
    one = estimate([needs, level(16, "failed")], (None, 16), (0, 15), disturbed=(8,))
    assert said(one, "first_word", more=settling(8, 16, hold=60.0)) == (
        "One bad stretch at 8 may be another client's load: 16 people at once are too many. "
        "The wait for the first word is the first limit. 8 is not proven: a run of about 2 minutes at 8 "
        "and 16 users would settle it."
    )


@pytest.mark.parametrize(
    ("doubt", "start"),
    [
        ({"drift": (40,)}, "The server changed during the run (visits to 40 differ): about 44 people can use this"),
        ({"contradictions": (4, 8)},
         "Service at 4 and 8 was worse than at more, which load does not explain: about 44 people can use this"),
        ({"disturbed": (40,)}, "One bad stretch at 40 may be another client's load: about 44 people can use this"),
        ({"disturbed": (64,)}, "About 44 people can use this"),
        ({"drift": (8,), "disturbed": (40,)},
         "The server changed during the run (visits to 8 differ); one bad stretch at 40 may be another client"),
    ],
)  # fmt: skip
def test_doubts_are_said_before_the_number(doubt: dict[str, Any], start: str) -> None:
    assert said(replace(PLACED, **doubt), "typing").startswith(start)


def test_users_who_differ() -> None:
    group = UserGroup(4, 0.71, 0.98)
    differ = level(16, "unproven", "users_differ", worse_group=group, users_differ=True)
    groups = GroupCapacity(4, 16, None, (0, None), 20.4, (18, 22))
    nothing = estimate([differ], (None, None), (0, None), users_differ=True, groups=groups)
    assert said(nothing) == (
        "Probably fewer than 16 people, not proven. 4 of 16 users get 71 % of their replies served, "
        "the others 98 %; for the others about 20 (18 to 22)."
    )
    at_least = replace(nothing, groups=replace(groups, others=None, others_interval=(16, None)))
    assert said(at_least).endswith("the others 98 %; for the others at least 16.")
    one = level(64, worse_group=UserGroup(1, 0.3, 0.99))
    holds = estimate([one], (64, None), (64, None), 64, groups=GroupCapacity(1, 64, None, None, None, (0, None)))
    assert said(holds).endswith(
        "More were not tried. 1 of 64 users gets 30 % of their replies served, the others 99 %."
    )


def test_a_number_is_suggested_where_users_differ_and_more_are_too_many() -> None:
    few, many = UserGroup(6, 0.34, 0.97), GroupCapacity(6, 12, None, None, None, (0, None))
    fine = level(4, "unproven", "too_few_replies", seconds_needed=60.0)
    levels = [fine, level(12, "failed", worse_group=few, visits=5)]
    found = estimate(levels, (None, 12), (0, 11), suggestion=Suggestion(4, 0, 11), users_differ=True, groups=many)
    more = NextMeasurement(which_search="a longer search", still_needed="8 more minutes")
    assert said(found, "first_word", more=more) == (
        "Probably about 4 people (95 %: 0 to 11), not proven; the search needed about 8 more minutes. "
        "12 are too many. The wait for the first word is the first limit. "
        "About 6 of 12 users get 34 % of their replies served, the others 97 %."
    )
    assert answer(found, Context("first_word", 0.9, (), (), NOBODY_STILL, more)).names_suggestion


def test_what_worse_users_share_is_told_of_the_whole_run() -> None:
    """Five visits had different users, of whom 22 were worse off, but never more than 6 at once."""
    shared = SharedTrait("worker", "worker 2", 20, 22, 25, 0.001)
    groups = GroupCapacity(6, 12, None, None, None, (0, None), shared)
    levels = [level(12, "failed", worse_group=UserGroup(6, 0.34, 0.97), visits=5)]
    found = said(estimate(levels, (None, 12), (0, 11), users_differ=True, groups=groups))
    assert found.endswith("the others 97 %; over the whole run, 20 of these 22 run on worker 2.")


def test_a_number_is_suggested_beside_a_level_to_visit_again() -> None:
    fine = level(4, "unproven", "too_few_replies", seconds_needed=60.0)
    levels = [fine, level(8, "unproven", "needs_second_visit"), level(16, "failed")]
    found = estimate(levels, (None, 16), (0, 15), suggestion=Suggestion(4, 0, 15), disturbed=(8,))
    assert said(found, "first_word", more=settling(8, 16, hold=60.0)) == (
        "One bad stretch at 8 may be another client's load: probably about 4 people (95 %: 0 to 15), not proven; "
        "a run of about 2 minutes at 8 and 16 users would show more. 16 are too many. "
        "The wait for the first word is the first limit."
    )


def test_invalid_run_says_so_first() -> None:
    lost = Finding("accounted", "fail", True, "7 rows are missing.")
    assert said(HELD, findings=[lost]) == (
        "Invalid measurement: 7 rows are missing. "
        "Reported result: At least 8 people can use this at once. More were not tried."
    )


def test_answers_that_are_not_the_models_own_are_stated() -> None:
    start = said(HELD, bounds=["cut_answers", "batch_limit"])
    assert start.startswith("With replies cut short: at least 8 people can use this at once.")
    both = said(replace(HELD, drift=(8,)), bounds=["response_cache", "cut_answers"])
    assert both.startswith("With replies from a response cache and cut short; the server changed during the run")
    assert both.partition(". ")[0].count(": ") == 1
    assert said(HELD, bounds=["batch_limit"]).startswith("At least 8 people")


def test_singular_plural_and_lists() -> None:
    assert [things(1, "reply", "replies"), things(1200, "reply", "replies")] == ["1 reply", "1,200 replies"]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"
    assert listed([]) == ""


@pytest.mark.parametrize(
    ("broken_share", "says", "not_says"),
    [(0.0, "none broke here", "replies broke, and"), (0.02, "replies broke, and", "none"), (None, "too few", "broke")],
)
def test_replies_are_said_to_break_only_where_some_did(broken_share: float | None, says: str, not_says: str) -> None:
    why = reason_in_words(["broken_bound"], 1.0, broken_share)
    assert says in why
    assert not_says not in why


def test_an_answer_that_no_reasonable_time_settles_says_so_and_what_helps_instead() -> None:
    close, fewer = level(8, "unproven", "too_few_replies"), level(4, "unproven", seconds_needed=50.0)
    found = estimate([fewer, close, level(16, "failed")], (None, 16), (0, 15), suggestion=Suggestion(8, 0, 15))
    more = NextMeasurement((4, 8, 16), 100.0, targets=(4,), settles=(4,))
    assert said(found, "typing", more=more) == (
        "Probably about 8 people (95 %: 0 to 15), not proven. 16 are too many. Typing speed is the first limit. "
        "At the share served so far, an hour at 8 users would not settle it; a run of about 5 minutes at 4, 8 and 16 "
        "users would show more."
    )


def test_an_open_gate_is_answered_by_the_run_that_would_prove_it() -> None:
    gate = replace(settling(8, hold=120.0), required=8)
    eight = level(8, "unproven", seconds_needed=60.0)
    open_level = estimate([eight], (None, None), (0, None), suggestion=Suggestion(8, 0, None))
    assert said(open_level, more=gate).endswith(", not proven: a run of about 2 minutes at 8 users would settle it.")
    untried = NextMeasurement((8, 16), 60.0, targets=(16,), required=16)
    assert said(HELD, more=untried).endswith(
        "More were not tried: a run of about 2 minutes at 8 and 16 users would prove 16 if nearly all replies are "
        "served there."
    )
