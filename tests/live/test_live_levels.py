"""The live view's levels equal the report's once all replies are known."""

import random
from collections.abc import Iterable

import pytest
from worlds import CHAT, columns, reply, staircase, worker

from probe_ext.live.live_levels import MAX_OPEN_LEVELS, LevelNow, Levels, Rules
from probe_ext.live.live_run import LiveRun
from probe_ext.live.reply_batch import judge
from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow, UserRow
from probe_ext.verdict.judge import judge as judged_by_the_report
from probe_ext.verdict.values.evidence import Evidence

RULES = Rules(CHAT, settle=5.0)


def lived(rows: Iterable[ReplyRow], users: Iterable[UserRow], rules: Rules = RULES) -> LiveRun:
    """Feed a run second by second; each reply arrives in the second after its end."""
    live, waiting, samples = LiveRun(rules), sorted(rows, key=lambda row: row.end), list(users)
    last = max([samples[-1].t, *(row.end for row in waiting)])
    for second in range(int(last) + 3):
        for sample in samples:
            if second - 1 < sample.t <= second:
                live.on_users(sample)
        while waiting and waiting[0].end <= second - 1:
            live.on_reply(waiting.pop(0))
        live.tick(float(second))
    return live


def mixed_run(seed: int) -> tuple[list[ReplyRow], list[UserRow]]:
    """Three levels: TTFT grows with the users, and some replies fail."""
    rng, rows, start = random.Random(seed), [], 0.0
    for users in (3, 5, 9):
        for user in range(users):
            sent = start + rng.random()
            while sent < start + 40:
                wait = 0.1 + rng.expovariate(1 / (0.08 * users))
                wait = 20.0 if rng.random() < 0.02 else wait
                rows.append(reply(user, sent, first=sent + wait, tpot=rng.uniform(0.02, 0.012 * users)))
                if rng.random() < 0.01:
                    rows[-1] = reply(user, sent, outcome="cut", end=sent + 1, first=None, tpot=None, tokens_out=None)
                sent = rows[-1].end + rng.random()
        start += 40
    return rows, staircase((3, 40), (5, 40), (9, 40))


@pytest.mark.parametrize("seed", range(4))
def test_final_levels_equal_the_reports(seed: int) -> None:
    rows, users = mixed_run(seed)
    evidence = Evidence(
        replies=columns(rows, ReplyRow),
        gaps=columns([], GapRow),
        users=columns(users, UserRow),
        server=columns([], ServerRow),
        windows=[],
        manifest={"plan": None, "end_reason": "stopped", "workers": [worker()], "server": []},
        locust=None,
        damage=[],
    )
    theirs = [level for level in judged_by_the_report(evidence, CHAT).levels if not level.band]
    ours = lived(rows, users).levels.all_now()
    assert [(level.users, level.t_start, level.t_end) for level in ours] == [(3, 5, 39), (5, 44, 79), (9, 84, 119)]
    assert [(level.users, level.t_start) for level in theirs] == [(level.users, level.t_start) for level in ours]
    same = ("state", "users_served", "users_strained", "users_broken", "users_undecided", "users_unheard", "replies")
    for live, final in zip(ours, theirs, strict=True):
        assert {name: getattr(live, name) for name in same} == {name: getattr(final, name) for name in same}
        assert live.why == tuple(why for why in final.why if why in live.why) or live.state == "held"
        assert live.ttft_p95 == pytest.approx(final.ttft_p95, rel=0.35)  # by rank here, interpolated there
        assert live.longest_gap_max == pytest.approx(final.longest_gap_max)


def test_ramp_steps_are_not_levels() -> None:
    users = staircase((2, 7), (4, 30))
    found = lived([reply(user, sent) for user in range(4) for sent in range(35)], users).levels.all_now()
    assert [level.users for level in found] == [4]


def test_only_planned_numbers_of_users_are_levels() -> None:
    rules = Rules(CHAT, settle=1.0, shortest=2.0, min_replies=2, planned=frozenset({4}))
    users = staircase((2, 10), (4, 10))
    levels = lived([reply(user, sent) for user in range(4) for sent in range(20)], users, rules).levels
    assert [(level.users, level.t_start) for level in levels.all_now()] == [(4, 10.0)]


def test_late_reply_counts_in_the_level_of_its_request() -> None:
    late = reply(0, 12.0, first=30.0)
    found = lived([reply(1, 12.0), late], staircase((2, 20), (3, 20))).levels.all_now()
    assert [(level.users, level.replies, level.users_undecided) for level in found] == [(2, 2, 1), (3, 0, 0)], (
        "it had waited for seven seconds when a third user came"
    )


def test_current_level_shows_its_progress() -> None:
    live = LiveRun(RULES)
    told: list[LevelNow | None] = []
    for second in range(12):
        live.on_users(UserRow(float(second), 2, 2, "running"))
        if second > 6:
            live.on_reply(reply(0, second - 2.0))
        told.append(live.tick(float(second)).level)
    assert told[:5] == [None] * 5
    last = told[-1]
    assert last is not None
    assert (last.state, last.t_start, last.t_end) == ("unproven", 5.0, None)
    assert (last.users_served, last.users_unheard, last.users_told, last.replies) == (1, 1, 1, 5)
    assert live.tick(12.0).settles_in is None


def test_stopping_users_end_the_level() -> None:
    levels = Levels(RULES)
    for second in range(20):
        levels.note_users(float(second), 4, ending=second >= 15)
    assert levels.present is None
    assert [(level.t_start, level.t_end) for level in levels.all_now()] == [(5.0, 14.0)]


def test_old_levels_are_frozen() -> None:
    levels, t = Levels(RULES), 0.0
    for users in range(1, MAX_OPEN_LEVELS + 4):
        for _ in range(12):
            levels.note_users(t, users, ending=False)
            t += 1
        levels.add(judge([reply(0, t - 1.5)], CHAT))
    assert len(levels.past) == 3
    before = levels.past[0]
    levels.add(judge([reply(0, before.t_start + 0.1)], CHAT))
    assert levels.all_now()[0] == before
    assert before.replies == 1


def test_server_peaks_belong_to_their_level() -> None:
    live = LiveRun(RULES)
    for second in range(30):
        live.on_users(UserRow(float(second), 2 if second < 15 else 4, None, "running"))
        kv, preempted = (0.5, 0) if second < 15 else (0.9, 3)
        rows = [("kv_usage", kv), ("waiting", float(second)), ("preemptions", float(preempted))]
        live.on_server([ServerRow(float(second), "u", "0", name, value) for name, value in rows])
        live.tick(float(second))
    first, second_level = live.levels.all_now()
    assert (first.kv_usage_max, first.preemptions, first.waiting_max) == (0.5, 0, 14.0)
    assert (second_level.kv_usage_max, second_level.preemptions, second_level.waiting_max) == (0.9, 0, 29.0)
    assert live.now is not None
    assert live.now.preemptions == 3  # while users came and went
