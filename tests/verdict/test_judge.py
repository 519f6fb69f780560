"""From rows to the answer: the worked examples of the definitions."""

import json
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import CHAT, evidence, manifest, reply, slow_start, staircase, steady, worker

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import WARM_UP, ReplyRow, ServerRow
from probe_ext.report.outputs.capacity_schema import capacity_schema
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.judgement import Judgement

SCHEMA = capacity_schema()


def judged(replies: list[ReplyRow], *steps: tuple[int, float], **changes: Any) -> Judgement:
    """Judge by the chat profile, and check the result against the schema."""
    verdict = judge(evidence(replies, staircase(*steps), **changes), CHAT)
    check(verdict)
    return verdict


def check(verdict: Judgement) -> None:
    """Check that `to_json` follows the schema, survives JSON, and that its counts add up."""
    capacity = verdict.to_json()
    assert json.loads(json.dumps(capacity, allow_nan=False)) == capacity
    jsonschema.Draft202012Validator(SCHEMA).validate(capacity)
    for level in verdict.levels:
        kinds = level.replies_served, level.replies_strained, level.replies_broken, level.replies_open
        assert sum(kinds) == level.replies == sum(level.outcomes.values())


def by_hand(replies: list[ReplyRow]) -> dict[str, Any]:
    """Return the manifest of a run whose load was set by hand."""
    return manifest(plan=None, workers=[worker(started=len(replies))])


def asks(start: float, seconds: float, every: float = 3.0) -> list[float]:
    """Return when a user sends requests in the measured part of a level."""
    return [float(t) for t in np.arange(start + 5.1, start + seconds - 1, every)]


def strained(users: int, start: float, seconds: float) -> list[ReplyRow]:
    """Return replies whose first word takes two seconds."""
    return [slow_start(u, t, 2.0) for t in asks(start, seconds) for u in range(users)]


def test_the_schema_is_valid_and_strict() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    capacity = judged(steady(1, 0, 30), (1, 30)).to_json()
    for wrong in ({"verdict": "fine"}, {"served_users": 1.5}, {"bracket": [1]}, {"more": 1}, {"breaks_first": "kv"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMA).validate({**capacity, **wrong})


def test_the_highest_level_that_holds_and_the_first_limit_above_it() -> None:
    rows = steady(2, 0, 30) + steady(4, 30, 30) + strained(8, 60, 30)
    verdict = judged(rows, (2, 30), (4, 30), (8, 30))
    assert (verdict.verdict, verdict.served_users, verdict.bracket, verdict.interval) == ("valid", 4, (4, 8), (4, 7))
    assert verdict.breaks_first == "first_word"
    assert verdict.levels[2].why == ("first_word",)
    assert verdict.sentence == (
        "4 people at once feel served; at 8 the wait for the first word broke first; between them was not measured."
    )
    assert verdict.next_command == "probe run capacity --host http://server:8000 --levels 4,5,6,7,8"


def test_an_undecided_level_in_between_was_measured() -> None:
    few = [reply(u, 36.0) for u in range(3)]  # one reply per user of three that are needed
    rows = steady(2, 0, 30) + few + strained(6, 60, 30)
    verdict = judged(rows, (2, 30), (3, 30), (6, 30))
    assert (verdict.served_users, verdict.bracket, verdict.levels[1].state) == (2, (2, 6), "unproven")
    assert verdict.sentence.endswith("broke first; 3, between them, was not decided; 4 to 5 were not measured.")


def test_an_undecided_level_is_held_longer_next_time() -> None:
    few = [reply(u, t) for t in (36.0, 39.0) for u in range(3)]  # two replies per user of three that are needed
    plan = {"levels": [2, 3, 6], "hold": 25.0, "settle": 5.0, "min_replies": 3}
    rows = steady(2, 0, 30) + few + strained(6, 60, 30)

    def held(rows: list[ReplyRow]) -> dict[str, Any]:
        return manifest(plan=plan, options={"hold": 25.0}, workers=[worker(started=len(rows))])

    verdict = judged(rows, (2, 30), (3, 30), (6, 30), manifest=held(rows))
    assert verdict.levels[1].state == "unproven"
    assert verdict.next_command is not None
    assert verdict.next_command.endswith("--levels 2,3,4,5,6 --hold=50")
    rows = steady(2, 0, 30) + strained(6, 30, 30)
    decided = judged(rows, (2, 30), (6, 30), manifest=held(rows))
    assert decided.next_command is not None
    assert decided.next_command.endswith("--levels 2,3,4,5,6 --hold=25")


def test_a_level_with_few_replies_is_held_until_it_has_enough() -> None:
    few = [reply(u, 36.0) for u in range(3)]  # a third of what is needed in 24 s or so
    rows = steady(2, 0, 30) + few + strained(6, 60, 30)
    verdict = judged(rows, (2, 30), (3, 30), (6, 30))
    assert verdict.next_command is not None
    level = verdict.levels[1]
    seconds = float(verdict.next_command.rpartition("--hold=")[2])
    assert seconds >= max(60, 3 * (level.t_end - level.t_start))


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
    assert "remaining" not in whys["ended"], "it was the only level"
    assert "remaining levels" in {one.check: one.why for one in cut_short(reason, 2, 4).findings}["ended"]


def test_a_finished_run_without_levels_never_held_a_number_of_users() -> None:
    assert "never constant" in cut_short("levels_done", 2).sentence


@pytest.mark.parametrize("reason", ["interrupted", "terminated", "workers_lost", "workers_left"])
def test_remaining_levels_are_stated_only_if_there_are_any(reason: str) -> None:
    def ended(levels: list[int] | None, search: dict[str, Any] | None = None) -> str:
        plan = {"levels": levels, "hold": 20.0, "settle": 5.0, "min_replies": 3, "search": search}
        rows = steady(2, 0, 30)
        stated = manifest(plan=plan if levels else None, end_reason=reason, workers=[worker(started=len(rows))])
        verdict = judged(rows, (2, 30), manifest=stated)
        return next(one.why for one in verdict.findings if one.check == "ended")

    remaining = "; the remaining levels were not measured."
    assert ended([2, 4]).endswith(remaining)
    assert ended([2], {"steps": []}).endswith(remaining), "a search plans each level from the last"
    assert ended([4, 8]).endswith(remaining), "neither was reached"
    assert "remaining" not in ended([2])
    assert "remaining" not in ended(None), "set by hand"


def test_neighbouring_levels_leave_nothing_unmeasured() -> None:
    verdict = judged(steady(2, 0, 30) + strained(3, 30, 30), (2, 30), (3, 30))
    assert verdict.sentence == "2 people at once feel served; at 3 the wait for the first word broke first."
    assert (verdict.interval, verdict.next_command) == ((2, 2), None)


def test_one_user() -> None:
    verdict = judged(steady(1, 0, 30), (1, 30))
    assert (verdict.served_users, verdict.bracket, verdict.interval) == (1, (1, None), (1, None))
    assert verdict.sentence == "1 person feels served; more were not measured."


def test_the_lowest_level_fails() -> None:
    verdict = judged(strained(1, 0, 30) + steady(2, 30, 30), (1, 30), (2, 30))
    assert (verdict.verdict, verdict.served_users, verdict.bracket, verdict.interval) == ("valid", 0, (None, 1), (0, 0))
    assert verdict.sentence == "Not even one person feels served: the wait for the first word broke first."
    assert next(f for f in verdict.findings if f.check == "in_order").state == "fail"


def test_all_replies_fail() -> None:
    rows = [
        reply(u, t, first=None, tpot=None, tokens_out=None, longest_gap=None, outcome=Outcome.REJECTED, end=t + 0.1)
        for t in asks(0, 30)
        for u in range(4)
    ]
    verdict = judged(rows, (4, 30))
    assert (verdict.served_users, verdict.breaks_first, verdict.levels[0].why) == (0, "answer", ("answer",))
    assert (verdict.levels[0].users_broken, verdict.levels[0].ttft_p50) == (4, None)
    assert verdict.levels[0].slo_attainment == 0.0


def test_eight_users_with_two_replies_each() -> None:
    good = [reply(u, t) for u in range(8) for t in (10.0, 15.0)]
    few = judged(good, (8, 30))
    assert (few.verdict, few.levels[0].state, few.levels[0].replies_needed) == ("unproven", "unproven", 8)
    assert few.sentence == (
        "No answer yet: no level had enough replies to tell; about 8 more replies at 8 users would."
    )
    plan = {"levels": [8], "hold": 30.0, "settle": 5.0, "min_replies": 2}
    asked_for_two = manifest(plan=plan, workers=[worker(started=16)])
    assert judged(good, (8, 30), manifest=asked_for_two).served_users == 8
    one_slow = [slow_start(0, 10.0, 2.0), *good[1:]]
    doubtful = judged(one_slow, (8, 30), manifest=asked_for_two).levels[0]
    assert (doubtful.users_served, doubtful.users_undecided, doubtful.state) == (7, 1, "unproven")
    assert doubtful.replies_needed == 8
    two_broken = [slow_start(0, 10.0, 20.0), slow_start(0, 15.0, 20.0), *good[2:]]
    assert judged(two_broken, (8, 30)).levels[0].state == "failed", "no user without replies could change that"


def test_replies_longer_than_a_level() -> None:
    long = [reply(u, 1.0, tokens_out=1000) for u in range(4)] + [reply(u, 36.0, tokens_out=1000) for u in range(8)]
    verdict = judged(long, (4, 30), (8, 30))
    first, second = verdict.levels
    assert (first.replies, first.users_unheard, first.state) == (0, 4, "unproven")
    assert (second.replies, second.users_served, second.state) == (8, 8, "unproven"), "one reply each is too few"
    assert verdict.served_users is None
    assert verdict.replies_outside == 4


def test_a_ramp_without_plateaus() -> None:
    steps = [(n, 1.0) for n in range(1, 61)]
    rows = [
        (reply if n < 30 else strained_reply)(user, n - 1 + 0.5)
        for n in range(1, 61)
        for user in range(n)
    ]  # fmt: skip
    verdict = judged(rows, *steps, manifest=by_hand(rows))
    assert (verdict.verdict, verdict.served_users, verdict.interval) == ("unproven", None, None)
    assert all(level.band and level.state == "unproven" for level in verdict.levels)
    low, high = verdict.bracket
    assert low is not None
    assert high is not None
    assert low < 30 <= high
    assert verdict.ramp is not None
    assert verdict.ramp.bracket == verdict.bracket
    assert verdict.sentence == (
        f"A ramp suggests that {low} people at once feel served; at {high} the wait for the first word broke first; "
        "nothing of it is proven yet."
    )
    assert verdict.next_command is not None
    assert verdict.next_command.startswith(f"probe run capacity --host http://server:8000 --levels {low},")


def strained_reply(user: int, sent: float) -> ReplyRow:
    return slow_start(user, sent, 2.0)


def test_a_ramp_before_a_failing_plateau_still_suggests_something() -> None:
    ramp = [(n, 2.0) for n in range(1, 21)]
    rows = [reply(u, 2 * n - 1.5 + k) for n in range(1, 20) for u in range(n) for k in (0, 0.9)]
    rows += strained(20, 40, 60)
    verdict = judged(rows, *ramp, (20, 60), manifest=by_hand(rows))
    assert (verdict.served_users, verdict.bracket, verdict.verdict) == (None, (None, 20), "unproven")
    assert verdict.ramp is not None
    assert verdict.ramp.bracket[0] is not None


def test_replies_that_are_not_streamed() -> None:
    def whole(u: int, t: float, seconds: float) -> ReplyRow:
        return reply(u, t, streamed=False, first=None, tpot=None, longest_gap=None, end=t + seconds)

    rows = [whole(u, t, 2.5) for t in asks(0, 30) for u in range(2)]
    rows += [whole(u, t, 5.0) for t in asks(30, 30) for u in range(4)]
    verdict = judged(rows, (2, 30), (4, 30))
    assert (verdict.served_users, verdict.bracket, verdict.breaks_first) == (2, (2, 4), "answer")
    assert verdict.levels[0].ttft_p50 is None
    typing = verdict.dimensions["typing"]
    assert (typing.served_users, typing.bracket) == (None, (None, None))


def test_hidden_reasoning_is_judged_by_visible_text() -> None:
    rows = [reply(u, t, first_visible=t + 4.0) for t in asks(0, 30) for u in range(2)]
    verdict = judged(rows, (2, 30))
    assert (verdict.served_users, verdict.reasoning.shown.served_users, verdict.reasoning.hidden.served_users) == (
        2,
        2,
        0,
    )
    hidden = judge(evidence(rows, staircase((2, 30))), CHAT, reasoning="hidden")
    assert (hidden.served_users, hidden.reasoning.judged, hidden.breaks_first) == (0, "hidden", "first_word")
    assert (hidden.reasoning.shown, hidden.reasoning.hidden) == (verdict.reasoning.shown, verdict.reasoning.hidden)


def test_stopped_with_replies_in_flight() -> None:
    flying = [reply(u, 27.0, outcome=Outcome.ENDED_BY_US, end=28.0) for u in range(3)]
    stuck = reply(3, 15.0, first=None, tpot=None, tokens_out=None, longest_gap=None, outcome="ended_by_us", end=28.0)
    rows = [r for r in steady(4, 0, 24) if r.user != "w1:3" or r.sent < 14] + flying + [stuck]
    level = judged(rows, (4, 30)).levels[0]
    assert level.replies_open == 3
    assert (level.users_served, level.users_broken) == (3, 1), "thirteen seconds without a first word are broken"
    assert level.outcomes["ended_by_us"] == 4


def test_one_strained_reply_of_few_leaves_a_user_undecided() -> None:
    rows = [slow_start(0, 5.2, 2.0), *[r for r in steady(4, 0, 30) if (r.user, r.sent) != ("w1:0", 5.1)]]
    level = judged(rows, (4, 30)).levels[0]
    assert (level.users_served, level.users_undecided, level.state) == (3, 1, "unproven")
    assert level.replies_needed is not None
    assert level.replies_needed > 0


def test_one_broken_reply_of_a_hundred_is_allowed() -> None:
    moments = [5.1 + 0.2 * i for i in range(100)]
    rows = [reply(0, t) for t in moments[:-1]] + [slow_start(0, moments[-1], 11.0)]
    assert judged(rows, (1, 30)).levels[0].state == "held"
    assert judged(rows[1:], (1, 30)).levels[0].state == "failed"


def test_lower_levels_cap_only_when_they_are_proven_to_fail() -> None:
    few = [reply(u, 40.0) for u in range(4)]
    verdict = judged(steady(2, 0, 30) + few + steady(8, 60, 30), (2, 30), (4, 30), (8, 30))
    assert [level.state for level in verdict.levels] == ["held", "unproven", "held"]
    assert verdict.served_users == 8
    verdict = judged(steady(2, 0, 30) + strained(4, 30, 30) + steady(8, 60, 30), (2, 30), (4, 30), (8, 30))
    assert (verdict.served_users, verdict.bracket) == (2, (2, 4))


def test_the_dimension_with_the_lowest_capacity_breaks_first() -> None:
    def at(users: int, start: float, **changes: Any) -> list[ReplyRow]:
        return [reply(u, t, **changes) for t in asks(start, 30) for u in range(users)]

    rows = at(2, 0) + at(4, 30, longest_gap=3.0) + at(8, 60, longest_gap=3.0, tpot=0.3)
    verdict = judged(rows, (2, 30), (4, 30), (8, 30))
    assert verdict.breaks_first == "silence"
    alone = {name: (one.served_users, one.bracket) for name, one in verdict.dimensions.items()}
    assert alone == {
        "first_word": (8, (8, None)),
        "typing": (4, (4, 8)),
        "silence": (2, (2, 4)),
        "answer": (8, (8, None)),
    }
    assert verdict.levels[2].why[0] in {"silence", "typing"}


def test_several_small_failures_have_no_single_cause() -> None:
    rows = []
    for i, t in enumerate(asks(0, 90, 1.0)):
        slow = {0: {"first": t + 2.0}, 1: {"longest_gap": 3.0}}.get(i % 12, {})
        rows += [reply(u, t, **slow) for u in range(2)]
    verdict = judged(rows, (2, 90))
    assert verdict.served_users == 0
    assert verdict.breaks_first is None
    assert set(verdict.levels[0].why) <= {"first_word", "silence"}
    assert "several dimensions together broke first" in verdict.sentence


def test_an_empty_run() -> None:
    verdict = judged([])
    assert (verdict.verdict, verdict.served_users, verdict.interval, verdict.levels) == ("unproven", None, None, ())
    assert verdict.bracket == (None, None)


def test_without_any_column() -> None:
    verdict = judge(Evidence({}, {}, {}, {}, (), {}, None, ()), CHAT)
    check(verdict)
    assert verdict.verdict == "unproven"


@pytest.mark.parametrize(
    "bad", [None, [], "x", {"plan": {"levels": "x", "settle": [], "min_replies": {}, "hold": None}}]
)
def test_a_manifest_full_of_nonsense(bad: Any) -> None:
    nonsense = dict.fromkeys(manifest(), bad) if not isinstance(bad, dict) else bad
    rows = steady(2, 0, 30)
    check(judge(evidence(rows, staircase((2, 30)), manifest=nonsense or {"x": 1}), CHAT))


def test_every_value_missing() -> None:
    known = evidence(steady(2, 0, 30), staircase((2, 30)), server=[ServerRow(6.0, "u", "0", "kv_usage", 0.5)] * 3)
    blank = {
        table: {name: _blanked(values) for name, values in getattr(known, table).items()}
        for table in ("replies", "users", "server")
    }
    verdict = judge(replace(known, **blank), CHAT)
    check(verdict)
    assert verdict.served_users is None
    times = {name: values for name, values in known.replies.items() if name in {"sent", "user", "worker", "outcome"}}
    only_times = {**blank["replies"], **times}
    level = judge(replace(known, replies=only_times), CHAT).levels[0]
    assert (level.replies_open, level.replies_served) == (level.replies, 0)


def _blanked(values: np.ndarray) -> np.ndarray:
    if values.dtype == bool:
        return values
    return np.full(len(values), "" if values.dtype == object else np.nan, dtype=values.dtype)


WAITS = st.lists(
    st.tuples(
        st.integers(0, 5), st.integers(0, 300), st.sampled_from([0.1, 0.2, 2.0, 12.0]), st.sampled_from(list(Outcome))
    ),
    max_size=60,
    unique_by=lambda one: one[:2],
)


@settings(max_examples=settings.default.max_examples // 2)
@given(WAITS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter_and_users_add_up(asked: list[Any], shuffle: Any) -> None:
    rows = [reply(u, 5 + t / 10, first=5 + t / 10 + wait, outcome=outcome) for u, t, wait, outcome in asked]
    users = staircase((3, 18), (6, 20))
    verdict = judge(evidence(rows, users), CHAT)
    check(verdict)
    mixed = list(rows)
    shuffle.shuffle(mixed)
    assert judge(evidence(mixed, users), CHAT).to_json() == verdict.to_json()
    for level in verdict.levels:
        kinds = (
            level.users_served,
            level.users_strained,
            level.users_broken,
            level.users_undecided,
            level.users_unheard,
        )
        seen = {r.user for r in rows if r.sent is not None and level.t_start <= r.sent <= level.t_end}
        assert sum(kinds) == max(level.users, len(seen))


def test_judging_is_deterministic() -> None:
    rows = steady(4, 0, 60) + strained(4, 60, 60)
    run = evidence(rows, staircase((4, 60), (6, 60)))
    assert judge(run, CHAT).to_json() == judge(run, CHAT).to_json()


def test_an_invalid_run_says_so_first() -> None:
    rows = steady(2, 0, 30)
    lost = manifest(workers=[worker(started=len(rows) + 7)])
    verdict = judged(rows, (2, 30), manifest=lost)
    assert (verdict.verdict, verdict.served_users) == ("invalid", 2)
    assert verdict.sentence.startswith("Invalid measurement: ")
    assert "7 rows are missing" in verdict.sentence
    assert verdict.next_command is not None
    assert verdict.next_command.endswith("--levels 2"), "what is not believed is repeated, not narrowed"


def test_a_level_too_short_above_one_that_holds() -> None:
    verdict = judged(steady(2, 0, 30) + [reply(u, 40.0) for u in range(4)], (2, 30), (4, 30))
    assert (verdict.served_users, verdict.bracket, verdict.verdict) == (2, (2, None), "valid")
    assert verdict.sentence == "2 people at once feel served; at 4 the run was too short to tell."


def test_warm_up_replies_are_not_judged() -> None:
    good = steady(2, 0, 30)
    warming = [replace(row, reply_id=f"{row.reply_id}w", scenario=WARM_UP) for row in strained(2, 0, 30)]
    assert judged([*good, *warming], (2, 30)).levels[0].users_served == 2
    as_usual = [replace(row, scenario="capacity") for row in warming]
    assert judged([*good, *as_usual], (2, 30)).levels[0].users_served == 0


def test_a_scenario_that_ends_by_itself_has_a_level_of_any_length() -> None:
    quick = [reply(0, 0.2 * n) for n in range(10)]
    done = manifest(plan=None, end_reason="scenario_done", workers=[worker(started=10)])
    assert judged(quick, (1, 2.5), manifest=done).served_users == 1
    by_hand_ended = manifest(plan=None, end_reason="stopped", workers=[worker(started=10)])
    assert judged(quick, (1, 2.5), manifest=by_hand_ended).served_users is None
