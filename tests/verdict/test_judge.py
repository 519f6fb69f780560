"""From rows to the answer: the worked examples of the definitions."""

import re
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import pytest
from one_answer import check_one_answer
from worlds import (
    CHAT,
    LEVEL_S,
    asked,
    evidence,
    good,
    manifest,
    mixed,
    reply,
    slow,
    slow_start,
    staircase,
    steady,
    worker,
)

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import WARM_UP, ReplyRow, ServerRow
from probe_ext.report.outputs.capacity_schema import capacity_schema
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.judgement import Judgement

SCHEMA = capacity_schema()


def judged(replies: list[ReplyRow], *steps: tuple[int, float], **changes: Any) -> Judgement:
    """Judge by the chat profile, and check the result against the schema."""
    verdict = judge(evidence(replies, staircase(*steps), **changes), CHAT)
    check_one_answer(verdict)
    return verdict


def by_hand(replies: list[ReplyRow]) -> dict[str, Any]:
    """Return the manifest of a run whose load was set by hand."""
    return manifest(plan=None, workers=[worker(started=len(replies))])


def levels(*users: int) -> list[tuple[int, float]]:
    """Return the steps of a run that holds each number of users for LEVEL_S."""
    return [(n, LEVEL_S) for n in users]


def states(verdict: Judgement) -> list[str]:
    return [level.state for level in verdict.levels]


def finding(verdict: Judgement, check: str) -> tuple[str, str]:
    found = next(one for one in verdict.findings if one.check == check)
    return found.state, found.why


def test_the_schema_is_valid_and_strict() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    capacity = judged(steady(1, 0, 30), (1, 30)).to_json()
    for wrong in ({"verdict": "fine"}, {"served_users": 1.5}, {"bracket": [1]}, {"more": 1}, {"breaks_first": "kv"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMA).validate({**capacity, **wrong})


# --- sweeps ---------------------------------------------------------------------------------------------------------


def test_clear_sweep() -> None:
    verdict = judged([*good(4), *good(8, 45), *slow(16, 90)], *levels(4, 8, 16))
    assert states(verdict) == ["held", "held", "failed"]
    assert (verdict.verdict, verdict.bracket) == ("valid", (8, 16))
    assert verdict.served_users is not None
    assert verdict.interval is not None
    assert verdict.interval[0] == 8
    assert 8 <= verdict.served_users <= 15
    assert (verdict.breaks_first, verdict.levels[2].why) == ("first_word", ("first_word",))
    assert "The wait for the first word is the first limit." in verdict.sentence


def test_gentle_slope_is_placed_between_levels() -> None:
    shares = {4: 0.99, 8: 0.97, 12: 0.93, 16: 0.89, 20: 0.75, 24: 0.6}
    rows = [row for n, (users, share) in enumerate(shares.items()) for row in mixed(users, share, 90 * n, 90)]
    verdict = judged(rows, *[(users, 90) for users in shares])
    assert verdict.estimate == pytest.approx(15, abs=2)
    assert (verdict.bracket[0] or 0) >= 8
    assert verdict.bracket[1] in (16, 20)
    low, high = verdict.interval or (0, None)
    assert high is not None
    assert 8 <= low <= (verdict.served_users or 0) <= high < 20
    assert verdict.sentence.startswith(
        f"About {verdict.served_users} people can use this at once (95 %: {low} to {high})."
    )
    assert "too close to call" in verdict.sentence


def test_cliff_between_neighbours_leaves_nothing_to_measure() -> None:
    verdict = judged([*good(8), *slow(9, 45)], *levels(8, 9))
    assert (verdict.served_users, verdict.bracket, verdict.interval) == (8, (8, 9), (8, 8))
    assert verdict.next_command is None
    assert verdict.sentence == (
        "8 people can use this at once; 9 are too many. The wait for the first word is the first limit."
    )


def test_two_levels_give_a_bracket_and_say_what_was_not_measured() -> None:
    verdict = judged([*good(8), *slow(16, 45)], *levels(8, 16))
    assert (verdict.served_users, verdict.bracket, verdict.interval) == (8, (8, 16), (8, 15))
    assert verdict.sentence.startswith("At least 8 people can use this at once; 16 are too many.")
    assert verdict.sentence.endswith("The range between was not measured.")


def test_nothing_fails() -> None:
    verdict = judged([*good(4), *good(8, 45)], *levels(4, 8))
    assert (verdict.served_users, verdict.bracket, verdict.interval) == (8, (8, None), (8, None))
    assert (verdict.breaks_first, verdict.estimate) == (None, None)
    assert verdict.sentence == "At least 8 people can use this at once. More were not tried."
    assert verdict.next_command is not None
    assert "--levels 8,16,32" in verdict.next_command


def test_everything_fails() -> None:
    verdict = judged([*slow(8), *slow(16, 45)], *levels(8, 16))
    assert states(verdict) == ["failed", "failed"]
    assert (verdict.verdict, verdict.served_users, verdict.bracket) == ("unproven", None, (None, 8))
    assert verdict.sentence.startswith("8 people at once are too many.")
    assert "Fewer were not tried" in verdict.sentence
    assert verdict.next_command is not None
    assert "--levels 1,2,4,8" in verdict.next_command


def test_all_replies_are_rejected() -> None:
    rows = [
        reply(u, t, first=None, tpot=None, tokens_out=None, longest_gap=None, outcome=Outcome.REJECTED, end=t + 0.1)
        for u, t in asked(4)
    ]
    answered_alone = manifest(warm_up={"rounds": [{"requests": 1, "failed": 0}]}, workers=[worker(started=len(rows))])
    verdict = judged(rows, *levels(4), manifest=answered_alone)
    assert (verdict.bracket, verdict.breaks_first, verdict.levels[0].why) == ((None, 4), "answer", ("answer",))
    assert (verdict.levels[0].replies_broken, verdict.levels[0].ttft_p50) == (verdict.levels[0].replies_judged, None)
    assert verdict.levels[0].slo_attainment == 0.0


def test_one_user_who_is_served() -> None:
    verdict = judged(good(1, seconds=110), (1, 110))
    assert (verdict.served_users, verdict.bracket, verdict.interval) == (1, (1, None), (1, None))
    assert verdict.sentence == "At least 1 person can use this at once. More were not tried."


def test_one_user_who_is_not_served() -> None:
    verdict = judged(slow(1), *levels(1))
    assert (verdict.verdict, verdict.served_users, verdict.bracket, verdict.interval) == ("valid", 0, (None, 1), (0, 0))
    assert verdict.sentence == "Not even 1 person is served. The wait for the first word is the first limit."
    assert verdict.next_command is None


@pytest.mark.untraced
def test_a_thousand_users_need_only_a_few_replies_each() -> None:
    verdict = judged([*good(1000, seconds=18), *slow(2000, 18, 18)], (1000, 18), (2000, 18))
    assert verdict.levels[0].replies < 10_000
    assert (verdict.served_users, verdict.bracket) == (1000, (1000, 2000))
    assert verdict.sentence.startswith("At least 1,000 people can use this at once; 2,000 are too many.")


# --- too little to tell ---------------------------------------------------------------------------------------------


def test_eight_users_with_two_replies_each_prove_nothing() -> None:
    rows = [reply(u, t) for u in range(8) for t in (10.0, 15.0)]
    verdict = judged(rows, (8, 30))
    level = verdict.levels[0]
    assert (verdict.verdict, level.state, level.reasons) == ("unproven", "unproven", ("too_few_replies",))
    assert (level.replies_needed or 0) > 16
    assert verdict.suggestion is not None
    assert verdict.suggestion.users == 8
    told = (
        "Probably at least 8 people who pause 11 s on average, not proven: a run of about 3 minutes at 8 users would "
        "settle it."
    )
    assert verdict.sentence == told


def test_level_with_too_few_replies_above_one_that_holds() -> None:
    verdict = judged([*good(8), *[reply(u, 55.0) for u in range(16)]], *levels(8, 16))
    assert (verdict.served_users, verdict.bracket, verdict.verdict) == (8, (8, None), "valid")
    assert "can use this. 16 has too few replies to tell: a run of about " in verdict.sentence
    assert verdict.next_command is not None
    assert "--levels 8,16 " in verdict.next_command


def test_level_with_too_few_replies_below_one_that_holds_does_not_cap() -> None:
    verdict = judged([*good(4), *[reply(u, 55.0) for u in range(8)], *good(16, 90)], *levels(4, 8, 16))
    assert verdict.served_users == 16
    assert states(verdict) == ["held", "held", "held"], "who is served with 15 others is served with 7"


def test_replies_longer_than_a_level_count_as_served_while_within_all_bounds() -> None:
    long = [reply(u, 36.0 + 0.01 * u, tokens_out=1000) for u in range(8)]
    verdict = judged(long, (4, 30), (8, 30))
    empty, second = verdict.levels
    assert (empty.replies, empty.state, empty.served_share) == (0, "unproven", None)
    assert (second.replies, second.served_share, second.state) == (8, 1.0, "unproven")
    assert verdict.served_users is None


def test_open_replies_at_the_end_count_unless_they_were_sent_in_the_last_second() -> None:
    ended = {"outcome": Outcome.ENDED_BY_US, "end": 45.0}
    early = [reply(u, 42.0, tokens_out=100, **ended) for u in range(4)]
    late = [reply(u, 44.5, **ended) for u in range(4)]
    verdict = judged([*good(4, seconds=42), *early, *late], (4, 46))
    level = verdict.levels[0]
    assert (level.replies_open, level.outcomes["ended_by_us"], level.replies - level.replies_judged) == (4, 4, 4)
    assert (level.state, level.served_share) == ("held", 1.0)


def test_a_reply_that_we_ended_after_a_bound_was_passed_counts_against_the_level() -> None:
    stuck = reply(3, 15.0, first=None, tpot=None, tokens_out=None, longest_gap=None, outcome="ended_by_us", end=28.0)
    level = judged([*good(4), stuck], *levels(4)).levels[0]
    assert (level.replies_broken, level.replies_open) == (1, 0), "thirteen seconds without a first word"
    assert level.served_share == pytest.approx(1 - 1 / level.replies_judged)


# --- broken replies -------------------------------------------------------------------------------------------------


def with_broken(users: int, every: int, seconds: float) -> list[ReplyRow]:
    """Break every n-th reply."""
    broken = {"outcome": Outcome.HTTP_ERROR, "first": None, "tpot": None, "tokens_out": None, "longest_gap": None}
    return [reply(u, t, **broken) if n % every == every // 2 else reply(u, t)
            for n, (u, t) in enumerate(asked(users, seconds=seconds))]  # fmt: skip


def test_half_a_percent_of_broken_replies_is_allowed() -> None:
    verdict = judged(with_broken(16, 201, 150), (16, 150))
    level = verdict.levels[0]
    assert level.broken_share == pytest.approx(0.005, abs=0.001)
    assert (level.state, verdict.served_users) == ("held", 16)
    assert level.broken_share_high is not None
    assert level.broken_share_high < 0.02


def test_of_dimensions_that_all_replies_miss_the_one_that_breaks_them_is_the_first_limit() -> None:
    rows = [reply(u, t, first=t + 1.1, end=t + 11, tokens_out=20, tpot=0.5) for u in range(4) for t in (6, 18)]
    verdict = judged(rows, (4, 40))
    assert (verdict.breaks_first, verdict.levels[0].why) == ("typing", ("typing", "first_word"))


def test_few_replies_of_which_one_broke_prove_nothing() -> None:
    level = judged(with_broken(16, 300, 45), *levels(16)).levels[0]
    assert (level.replies_broken, level.state, level.reasons) == (1, "unproven", ("broken_bound",))


def test_two_percent_of_broken_replies_are_too_many() -> None:
    verdict = judged(with_broken(16, 51, 200), (16, 200))
    assert (verdict.levels[0].state, verdict.bracket) == ("failed", (None, 16))
    assert (verdict.breaks_first, verdict.levels[0].why) == ("answer", ("answer",))


# --- kinds of replies -----------------------------------------------------------------------------------------------


def test_replies_that_are_not_streamed_are_judged_by_their_whole_time() -> None:
    def whole(u: int, t: float, seconds: float) -> ReplyRow:
        return reply(u, t, streamed=False, first=None, tpot=None, longest_gap=None, end=t + seconds)

    rows = [whole(u, t, 1.4) for u, t in asked(4)] + [whole(u, t, 5.0) for u, t in asked(8, 45)]
    verdict = judged(rows, *levels(4, 8))
    assert (verdict.served_users, verdict.bracket, verdict.breaks_first) == (4, (4, 8), "answer")
    assert verdict.levels[0].ttft_p50 is None
    assert set(verdict.dimensions) == {"answer"}, "nothing else could be judged"


def test_hidden_reasoning_is_judged_by_visible_text() -> None:
    rows = good(4)
    rows = [replace(row, first_visible=(row.sent or 0.0) + 4.0) for row in rows]
    verdict = judged(rows, *levels(4))
    assert (verdict.reasoning.judged, verdict.served_users) == ("shown", 4)
    hidden = judge(evidence(rows, staircase(*levels(4))), CHAT, reasoning="hidden")
    check_one_answer(hidden)
    assert (hidden.bracket, hidden.reasoning.judged, hidden.breaks_first) == ((None, 4), "hidden", "first_word")
    assert (hidden.reasoning.shown, hidden.reasoning.hidden) == (verdict.reasoning.shown, verdict.reasoning.hidden)
    assert verdict.reasoning.shown.bracket == (4, None)
    assert verdict.reasoning.hidden.bracket == (None, 4)


def test_each_dimension_has_a_capacity_of_its_own() -> None:
    rows = good(4) + good(8, 45, longest_gap=3.0) + good(16, 90, longest_gap=3.0, tpot=0.3)
    verdict = judged(rows, *levels(4, 8, 16))
    assert verdict.breaks_first == "silence"
    brackets = {name: one.bracket for name, one in verdict.dimensions.items()}
    assert brackets == {"first_word": (16, None), "typing": (8, 16), "silence": (4, 8), "answer": (16, None)}
    assert [level.why for level in verdict.levels] == [(), ("silence",), ("typing", "silence")] or [
        set(level.why) for level in verdict.levels
    ] == [set(), {"silence"}, {"typing", "silence"}]


def test_short_replies_have_no_part_in_the_capacity_by_typing_speed() -> None:
    rows = [reply(u, t, tokens_out=5 if n % 2 else 20, tpot=0.05) for n, (u, t) in enumerate(asked(8))]
    verdict = judged(rows, *levels(8))
    assert verdict.dimensions["typing"].levels[0].served_share == 1.0
    assert verdict.dimensions["first_word"].bracket == (8, None)


def test_several_small_failures_have_no_single_cause() -> None:
    rows = []
    for n, (u, t) in enumerate(asked(4, seconds=120)):
        ill = {0: {"first": t + 2.0}, 1: {"longest_gap": 3.0}}.get(n % 12, {})
        rows.append(reply(u, t, **ill))
    verdict = judged(rows, (4, 120))
    assert (verdict.levels[0].state, verdict.breaks_first) == ("failed", None)
    assert set(verdict.levels[0].why) == {"first_word", "silence"}
    assert "Several dimensions together are the first limit." in verdict.sentence


def test_warm_up_replies_are_not_judged() -> None:
    rows = good(4)
    warming = [replace(row, reply_id=f"{row.reply_id}w", scenario=WARM_UP) for row in slow(4)]
    assert judged([*rows, *warming], *levels(4)).bracket == (4, None)
    usual = [replace(row, scenario="capacity") for row in warming]
    assert judged([*rows, *usual], *levels(4)).bracket == (None, 4)


# --- by hand --------------------------------------------------------------------------------------------------------


def test_hand_ramp_without_plateaus_finds_the_limit_by_its_bands() -> None:
    steps = [(n, 4.0) for n in range(1, 41)]
    rows = [
        reply(user, 4 * (n - 1) + 0.1 + turn) if n < 24 else slow_start(user, 4 * (n - 1) + 0.1 + turn, 2.0)
        for n in range(1, 41)
        for turn in (0.0, 1.3, 2.6)
        for user in range(n)
    ]  # fmt: skip
    verdict = judged(rows, *steps, manifest=by_hand(rows))
    assert all(level.band for level in verdict.levels)
    low, high = verdict.interval or (0, None)
    assert high is not None
    assert low <= 23 <= high
    assert verdict.verdict == "valid"
    assert (verdict.bracket[0] or 99) <= 23 < (verdict.bracket[1] or 0)


def test_hand_ramp_with_plateaus_has_levels_and_bands() -> None:
    steps = [(8, LEVEL_S), *((n, 2.0) for n in range(9, 16)), (16, LEVEL_S)]
    ramp = [reply(u, LEVEL_S + 2 * (n - 9) + 0.1) for n in range(9, 16) for u in range(n)]
    rows = [*good(8), *ramp, *slow(16, LEVEL_S + 14)]
    verdict = judged(rows, *steps, manifest=by_hand(rows))
    assert [level.users for level in verdict.levels if not level.band] == [8, 16]
    assert any(level.band for level in verdict.levels)
    assert verdict.bracket[0] in range(8, 16)
    assert verdict.bracket[1] == 16


def test_a_scenario_that_ends_by_itself_has_a_level_of_any_length() -> None:
    quick = [reply(0, 0.03 * n) for n in range(150)]
    done = manifest(plan=None, end_reason="scenario_done", workers=[worker(started=150)])
    assert judged(quick, (1, 5), manifest=done).served_users == 1
    by_hand_ended = manifest(plan=None, end_reason="stopped", workers=[worker(started=150)])
    assert judged(quick, (1, 5), manifest=by_hand_ended).served_users is None


# --- what load does not explain -------------------------------------------------------------------------------------


def test_two_visits_that_agree() -> None:
    verdict = judged([*good(8), *slow(16, 45), *good(8, 90)], *levels(8, 16, 8))
    assert (verdict.served_users, verdict.bracket, verdict.drift) == (8, (8, 16), ())
    state, why = finding(verdict, "drift")
    assert state == "pass"
    assert why.startswith("Repeated visits agree. At 8 users, from visit to visit: replies served 100 % → 100 %, ")


def test_two_visits_that_differ_tell_drift_apart_from_load() -> None:
    later = [replace(row, tpot=0.09) for row in mixed(8, 0.5, 90)]
    verdict = judged([*good(8), *slow(16, 45), *later], *levels(8, 16, 8))
    assert verdict.drift == (8,)
    assert verdict.sentence.startswith("The server changed during the run (visits to 8 differ): ")
    state, why = finding(verdict, "drift")
    assert state == "fail"
    assert "100 % → 5" in why
    assert why.endswith("median typing speed 20 → 11 tokens/s.")


def test_visits_that_go_back_and_forth_do_not_agree() -> None:
    """The first and the last are alike, as on a server that something slows down now and then."""
    between = [row for start in (45, 135, 225, 315) for row in good(4, start)]
    rows = [*good(8), *slow(8, 90), *good(8, 180), *slow(8, 270), *good(8, 360), *between]
    verdict = judged(rows, *levels(8, 4, 8, 4, 8, 4, 8, 4, 8))
    assert verdict.drift == ()
    state, why = finding(verdict, "drift")
    assert state == "fail"
    assert why.startswith("Visits to 8 users differ by more than stretches of one visit do. At 8 users, from visit to ")
    assert "100 % → 0 % → 100 % → 0 % → 100 %" in why


def test_visits_that_differ_as_stretches_of_one_do_neither_agree_nor_disagree() -> None:
    later = [*slow(8, 90, 25), *good(8, 115, 15)]
    rows = [*good(8, 0, 25), *slow(8, 25, 15), *good(4, 45), *later]
    state, why = finding(judged(rows, *levels(8, 4, 8)), "drift")
    assert state == "unproven"
    assert why.startswith("Visits to 8 users differ, but by no more than stretches of one visit do. At 8 users, ")


def test_level_that_did_worse_than_higher_ones_is_no_answer_to_load() -> None:
    verdict = judged([*good(4), *mixed(8, 0.6, 45), *good(16, 90), *slow(32, 135)], *levels(4, 8, 16, 32))
    assert verdict.bracket == (16, 32)
    assert finding(verdict, "in_order")[0] == "fail"
    assert " at 8 " in verdict.sentence.partition(":")[0]


def test_lowest_level_that_fails_beside_a_higher_one_that_holds_does_not_prove_zero() -> None:
    verdict = judged([*slow(4), *good(8, 45)], *levels(4, 8))
    assert verdict.bracket[1] is None
    assert finding(verdict, "in_order")[0] == "fail"
    assert verdict.sentence.startswith(("Service at 4 ", "One bad stretch at 4 "))


def disturbed(users: int, start: float, seconds: float, bad: tuple[float, float]) -> list[ReplyRow]:
    """Return a level in which all replies of one stretch are slow."""
    return [slow_start(u, t, 2.0) if bad[0] <= t < bad[1] else reply(u, t) for u, t in asked(users, start, seconds)]


def test_level_with_one_bad_stretch_needs_a_second_visit() -> None:
    verdict = judged([*disturbed(8, 0, 90, (30, 50)), *slow(16, 90)], (8, 90), (16, LEVEL_S))
    assert (verdict.levels[0].state, verdict.levels[0].reasons) == ("unproven", ("needs_second_visit",))
    assert (verdict.bracket, verdict.next_step and verdict.next_step.reason) == ((None, 16), "second_visit")
    assert verdict.sentence.startswith("One bad stretch at 8 may be another client's load: 16 people at once ")
    assert verdict.next_command is not None
    assert "--levels 8,16" in verdict.next_command


def test_second_visit_settles_it() -> None:
    rows = [*disturbed(8, 0, 90, (30, 50)), *slow(16, 90), *good(8, 135, 90)]
    verdict = judged(rows, (8, 90), (16, LEVEL_S), (8, 90))
    assert (verdict.levels[0].state, verdict.bracket) == ("held", (8, 16))
    again = judged(
        [*disturbed(8, 0, 90, (30, 50)), *slow(16, 90), *mixed(8, 0.6, 135, 90)], (8, 90), (16, LEVEL_S), (8, 90)
    )
    assert again.levels[0].state == "failed"


def test_users_behind_a_slow_replica() -> None:
    def fate(n: int, user: int, t: float) -> ReplyRow:
        return slow_start(user, t, 2.0) if user < 4 and n % 3 == user % 3 else reply(user, t)

    rows = [fate(n // 16, user, t) for n, (user, t) in enumerate(asked(16, seconds=120))]
    verdict = judged(rows, (16, 120))
    assert (verdict.verdict, verdict.levels[0].reasons) == ("unproven", ("users_differ",))
    group = verdict.levels[0].worse_group
    assert group is not None
    assert (group.users, round(group.share, 1), round(group.others_share, 1)) == (4, 0.7, 1.0)
    assert verdict.groups is not None
    assert verdict.sentence.startswith(
        "Probably fewer than 16 people, not proven. 4 of 16 users get 66 % of their replies served, the others "
    )


def test_an_invalid_run_says_so_first() -> None:
    rows = good(4)
    lost = manifest(workers=[worker(started=len(rows) + 7)], plan={"levels": [4], "hold": 40.0, "settle": 5.0})
    verdict = judged(rows, *levels(4), manifest=lost)
    assert (verdict.verdict, verdict.bracket) == ("invalid", (4, None))
    assert verdict.sentence.startswith("Invalid measurement: ")
    assert "7 rows are missing" in verdict.sentence
    assert verdict.sentence.endswith("Reported result: At least 4 people can use this at once. More were not tried.")
    assert verdict.next_command is not None
    assert verdict.next_command.endswith("--levels 4"), "what is not believed is repeated, not narrowed"


# --- runs that ended early ------------------------------------------------------------------------------------------


def cut_short(reason: str, *levels: int) -> Judgement:
    """Hold two users for 8 of 20 seconds, then end the run."""
    plan = {"levels": list(levels), "hold": 20.0, "settle": 5.0, "min_replies": 3, "search": None}
    return judged([], (2, 8), manifest=manifest(plan=plan, end_reason=reason, workers=[worker()]))


@pytest.mark.parametrize(
    ("reason", "how"), [("interrupted", "was interrupted"), ("terminated", "was terminated"), ("workers_lost", "ended")]
)
def test_a_run_that_ended_during_its_first_level_says_so(reason: str, how: str) -> None:
    verdict = cut_short(reason, 2)
    why = f"the run {how} before its first level was long enough to measure anything."
    assert verdict.sentence == f"No answer: {why}"
    whys = {one.check: one.why for one in verdict.findings}
    assert whys["levels"] == f"T{why[1:]}"
    assert "Not measured" not in whys["ended"], "it was the only level"
    assert "Not measured: 2 and 4 users" in {one.check: one.why for one in cut_short(reason, 2, 4).findings}["ended"]


def test_a_finished_run_without_levels_never_held_a_number_of_users() -> None:
    assert "never constant" in cut_short("levels_done", 2).sentence


@pytest.mark.parametrize("reason", ["interrupted", "terminated", "workers_lost", "workers_left", "prompts_changed"])
def test_remaining_levels_are_stated_only_if_there_are_any(reason: str) -> None:
    def ended(levels: list[int] | None, search: dict[str, Any] | None = None) -> str:
        plan = {"levels": levels, "hold": 20.0, "settle": 5.0, "min_replies": 3, "search": search}
        rows = steady(2, 0, 30)
        stated = manifest(plan=plan if levels else None, end_reason=reason, workers=[worker(started=len(rows))])
        verdict = judged(rows, (2, 30), manifest=stated)
        return next(one.why for one in verdict.findings if one.check == "ended")

    remaining = re.compile("Not measured: |The search was not over")
    assert remaining.search(ended([2, 4]))
    assert remaining.search(ended([2], {"steps": []})), "a search plans each level from the last"
    assert remaining.search(ended([4, 8])), "neither was reached"
    assert not remaining.search(ended([2]))
    assert not remaining.search(ended(None)), "set by hand"


# --- damaged files --------------------------------------------------------------------------------------------------


def test_an_empty_run() -> None:
    verdict = judged([])
    assert (verdict.verdict, verdict.served_users, verdict.interval, verdict.levels) == ("unproven", None, None, ())
    assert verdict.bracket == (None, None)


def test_without_any_column() -> None:
    verdict = judge(Evidence({}, {}, {}, {}, (), {}, None, ()), CHAT)
    check_one_answer(verdict)
    assert verdict.verdict == "unproven"


@pytest.mark.parametrize(
    "bad", [None, [], "x", {"plan": {"levels": "x", "settle": [], "min_replies": {}, "hold": None}}]
)
def test_a_manifest_full_of_nonsense(bad: Any) -> None:
    nonsense = dict.fromkeys(manifest(), bad) if not isinstance(bad, dict) else bad
    rows = steady(2, 0, 30)
    check_one_answer(judge(evidence(rows, staircase((2, 30)), manifest=nonsense or {"x": 1}), CHAT))


def test_every_value_missing() -> None:
    known = evidence(steady(2, 0, 30), staircase((2, 30)), server=[ServerRow(6.0, "u", "0", "kv_usage", 0.5)] * 3)
    blank = {
        table: {name: _blanked(values) for name, values in getattr(known, table).items()}
        for table in ("replies", "users", "server")
    }
    verdict = judge(replace(known, **blank), CHAT)
    check_one_answer(verdict)
    assert verdict.served_users is None
    times = {name: values for name, values in known.replies.items() if name in {"sent", "user", "worker", "outcome"}}
    only_times = {**blank["replies"], **times}
    level = judge(replace(known, replies=only_times), CHAT).levels[0]
    assert (level.replies_open, level.replies_served) == (level.replies, 0)


def _blanked(values: np.ndarray) -> np.ndarray:
    if values.dtype == bool:
        return values
    return np.full(len(values), "" if values.dtype == object else np.nan, dtype=values.dtype)


@pytest.mark.parametrize("strictest", [{"served_share": 1.0}, {"broken_share": 0.0}])
def test_profile_that_no_run_can_prove(strictest: dict[str, float]) -> None:
    profile = CHAT.model_copy(update={"users": CHAT.users.model_copy(update=strictest)})
    verdict = judge(evidence([*good(4), *slow(8, 45)], staircase(*levels(4, 8))), profile)
    check_one_answer(verdict)
    assert verdict.bracket[1] == 8


def test_judging_is_deterministic() -> None:
    rows = good(4) + slow(6, 45)
    run = evidence(rows, staircase(*levels(4, 6)))
    assert judge(run, CHAT).to_json() == judge(run, CHAT).to_json()
