"""The live view's levels equal the report's once all replies are known."""

import random
from collections.abc import Iterable
from typing import Any

import pytest
from worlds import CHAT, columns, reply, staircase, steady, worker

from probe_ext.live import live_levels, reply_store
from probe_ext.live.live_levels import LevelNow, Rules
from probe_ext.live.live_run import LiveRun
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow, UserRow
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.judge import judge as judged_by_the_report

RULES = Rules(CHAT)


def a_live_run(rules: Rules = RULES) -> LiveRun:
    return LiveRun(rules, VisitMonitor(CHAT, 3))


def lived(rows: Iterable[ReplyRow], users: Iterable[UserRow], live: LiveRun | None = None) -> LiveRun:
    """Feed a run second by second; each reply arrives in the second after its end."""
    live, waiting, samples = live or a_live_run(), sorted(rows, key=lambda row: row.end), list(users)
    last = max([samples[-1].t, *(row.end for row in waiting)])
    for second in range(int(last) + 3):
        for sample in samples:
            if second - 1 < sample.t <= second:
                live.on_users(sample)
        while waiting and waiting[0].end <= second - 1:
            live.on_reply(waiting.pop(0))
        live.tick(float(second), final=second == int(last) + 2)
    return live


def report_of(rows: list[ReplyRow], users: list[UserRow]) -> Any:
    manifest = {"plan": None, "end_reason": "stopped", "workers": [worker()], "server": []}
    evidence = Evidence(
        replies=columns(rows, ReplyRow),
        gaps=columns([], GapRow),
        users=columns(users, UserRow),
        server=columns([], ServerRow),
        windows=[],
        manifest=manifest,
        locust=None,
        damage=[],
    )
    return judged_by_the_report(evidence, CHAT)


SAME = ("users", "band", "t_start", "t_end", "state", "served_share", "served_share_low", "served_share_high")


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


@pytest.mark.untraced
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 12))])
def test_final_levels_and_estimate_equal_the_reports(seed: int) -> None:
    rows, users = mixed_run(seed)
    theirs, live = report_of(rows, users), lived(rows, users)
    ours = live.levels.all
    assert [(level.users, level.t_end) for level in ours] == [(3, 39), (5, 79), (9, 119)]
    for now, final in zip(ours, theirs.levels, strict=True):
        assert [getattr(now, name) for name in SAME[:5]] == [getattr(final, name) for name in SAME[:5]]
        # The limits depend a little on the order of the users, which arrive in another one here.
        for name in SAME[5:]:
            assert getattr(now, name) == pytest.approx(getattr(final, name), rel=2e-3)
        assert now.why == tuple(why for why in final.why if why in now.why)
        assert now.ttft_p95 == pytest.approx(final.ttft_p95)
        assert now.longest_gap_max == pytest.approx(final.longest_gap_max)
    known = live.levels.estimate
    assert known is not None
    assert (known.served_users, known.bracket) == (theirs.served_users, theirs.bracket)
    assert (known.estimate, known.interval) == (theirs.estimate, theirs.interval)


@pytest.mark.untraced
def test_bands_of_a_ramp_equal_the_reports() -> None:
    users = [UserRow(float(t), 1 + t // 2, None, "running") for t in range(120)] + [
        UserRow(120.0, 60, None, "stopping")
    ]
    rows = [
        reply(n, t + 0.01 * n, first=t + 0.01 * n + 0.1 + 0.02 * t) for t in range(0, 118, 3) for n in range(t // 2)
    ]
    theirs, live = report_of(rows, users), lived(rows, users)
    ours = live.levels.all
    assert len(ours) > 5
    assert [[getattr(level, name) for name in SAME] for level in ours] == [
        [getattr(level, name) for name in SAME] for level in theirs.levels
    ]
    assert live.levels.estimate is not None
    assert live.levels.estimate.interval == theirs.interval


def test_a_lower_level_is_measured_once_the_queue_it_followed_is_gone() -> None:
    users = staircase((8, 20), (2, 30))
    rows = steady(8, 0.0, 15.0) + [reply(n, 18.0, first=34.0) for n in range(8)] + steady(2, 20.0, 30.0)
    theirs, live = report_of(rows, users), lived(rows, users)
    assert live.levels.all[1].t_start == theirs.levels[1].t_start > 30


def test_a_plan_says_itself_when_its_levels_are_measured() -> None:
    live = a_live_run(Rules(CHAT, settle=4.0, planned=True))
    monitor = live.levels._monitor
    users = staircase((2, 30), (4, 30))
    monitor.begin_visit(4.0, 2)
    monitor.end_visit(30.0, more_users=True)
    monitor.begin_visit(36.0, 4)
    levels = lived(steady(2, 0.0, 30.0) + steady(4, 30.0, 30.0), users, live).levels
    assert [(level.users, level.t_start, level.t_end) for level in levels.all] == [(2, 4.0, 30.0), (4, 36.0, 60.0)]
    found = monitor.estimate(70.0)
    assert [level.served_share_low for level in levels.all] == [level.share_low for level in found.levels]


def test_a_plan_has_no_level_before_its_first_and_after_it_left_one() -> None:
    live = a_live_run(Rules(CHAT, planned=True))
    live.on_users(UserRow(0.0, 2, 2, "running"))
    assert live.tick(0.0).level is None
    live.levels._monitor.begin_visit(1.0, 2)
    assert live.tick(2.0).level is not None
    live.levels._monitor.end_visit(2.5, more_users=False)
    assert live.tick(3.0).level is None, "users are still the same"


def test_a_second_visit_is_named_and_counts_with_the_first() -> None:
    live = a_live_run(Rules(CHAT, planned=True))
    monitor = live.levels._monitor
    for start, users in ((5.0, 2), (35.0, 4), (65.0, 2)):
        monitor.begin_visit(start, users)
        monitor.end_visit(start + 25.0, more_users=False)
    rows = [row for start, users in ((0.0, 2), (30.0, 4), (60.0, 2)) for row in steady(users, start, 30.0)]
    levels = lived(rows, staircase((2, 30), (4, 30), (2, 30)), live).levels.all
    assert [(level.users, level.visit) for level in levels] == [(2, 1), (4, 1), (2, 2)]
    assert levels[0].served_share_low == levels[2].served_share_low
    assert levels[0].replies == levels[2].replies


def test_late_reply_counts_in_the_level_of_its_request() -> None:
    late = reply(0, 12.0, first=30.0)
    found = lived([*steady(2, 0.0, 20.0), late], staircase((2, 20), (3, 20))).levels.all
    assert [(level.users, level.replies) for level in found] == [(2, 11), (3, 0)]
    assert found[0].served_share == pytest.approx(10 / 11), "it had waited for seven seconds when a third user came"


def test_current_level_shows_its_progress() -> None:
    live = a_live_run()
    told: list[LevelNow | None] = []
    for second in range(17):
        live.on_users(UserRow(float(second), 2, 2, "running"))
        if second > 6:
            live.on_reply(reply(0, second - 2.0))
        told.append(live.tick(float(second)).level)
    assert told[:10] == [None] * 10, "it may still be part of a ramp"
    last = told[-1]
    assert last is not None
    assert (last.state, last.t_start, last.t_end, last.replies) == ("unproven", 5.0, None, 10)
    assert (last.served_share, last.is_early) == (1.0, False)
    assert live.tick(17.0).settles_in is None


def test_few_early_replies_are_too_early_to_say() -> None:
    """Sixty of 62 users still wait for their first reply."""
    live = a_live_run(Rules(CHAT, planned=True))
    live.levels._monitor.begin_visit(5.0, 62)
    for second in range(12):
        live.on_users(UserRow(float(second), 62, 62, "running"))
        if second in {9, 10}:
            live.on_reply(reply(second, 5.5, first=7.5))
        live.tick(float(second))
    assert live.levels.present is not None
    assert live.levels.present.is_early
    assert live.levels.estimate is not None
    assert live.levels.estimate.bracket == (None, None)


def test_stopping_users_end_the_level() -> None:
    live = a_live_run()
    for second in range(20):
        live.on_users(UserRow(float(second), 4, 4, "running" if second < 15 else "stopping"))
        live.on_reply(reply(0, float(second)))
        live.tick(float(second))
    assert live.levels.present is None
    live.tick(20.0, final=True)
    assert [(level.t_start, level.t_end) for level in live.levels.all] == [(5.0, 14.0)]


def test_updates_every_two_seconds_and_less_often_if_they_take_much_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the CPU puts none off: on a machine that the server shares, the view stood still for 15 s."""
    live, seen, took, used = a_live_run(), [], 0.01, [0.0]

    def cpu() -> float:
        used[0] += took
        return used[0]

    monkeypatch.setattr(live_levels.clock, "cpu", cpu)
    monkeypatch.setattr(live.levels, "_found_spans", lambda: seen.append(second) or [])
    for second in range(20):
        took = 0.01 if second < 10 else 0.25
        live.tick(float(second))
    assert seen == [0, 2, 4, 6, 8, 10, 15]


def test_keeps_a_limited_number_of_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_store, "MAX_REPLIES", 200)
    live = lived([reply(n % 2, 0.1 * n) for n in range(1000)], staircase((2, 110)))
    level = live.levels.all[0]
    assert 100 <= level.replies <= 200
    assert level.served_share == 1.0
    assert len(live.levels._monitor.replies._buffer) <= 200


def test_server_peaks_belong_to_their_level() -> None:
    live = a_live_run()
    for second in range(30):
        live.on_users(UserRow(float(second), 2 if second < 15 else 4, None, "running"))
        kv, preempted = (0.5, 0) if second < 15 else (0.9, 3)
        rows = [("kv_usage", kv), ("waiting", float(second)), ("preemptions", float(preempted))]
        live.on_server([ServerRow(float(second), "u", "0", name, value) for name, value in rows])
        live.tick(float(second))
    first, second_level = live.levels.all
    assert (first.kv_usage_max, first.preemptions, first.waiting_max) == (0.5, 0, 14.0)
    assert (second_level.kv_usage_max, second_level.preemptions) == (0.9, 0)
    assert live.now is not None
    assert live.now.preemptions == 3  # while users came and went


def test_a_run_of_hours_is_estimated_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    estimated: list[float] = []
    original = VisitMonitor.estimate_of

    def counting(monitor: VisitMonitor, spans: Any, now: float) -> Any:
        estimated.append(now)
        return original(monitor, spans, now)

    monkeypatch.setattr(VisitMonitor, "estimate_of", counting)
    live = a_live_run(Rules(CHAT, planned=True))
    live._monitor.begin_visit(0.0, 4)
    for second in (*range(100), *range(20_000, 20_100)):
        live.tick(float(second))
    early = sum(now < 100 for now in estimated)
    assert early == 50
    assert 1 <= len(estimated) - early <= 4
