"""The current figures: window, server, processes, sentences."""

import math
from dataclasses import replace

import numpy as np
import pytest
from worlds import CHAT, reply

from probe_ext.live import status_text
from probe_ext.live.cpu_load import CpuTrack
from probe_ext.live.live_levels import LevelNow, Rules
from probe_ext.live.live_run import LiveRun
from probe_ext.live.reply_batch import judge
from probe_ext.live.server.server_now import ServerNow
from probe_ext.live.status_line import status_line
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.live.window import MAX_WINDOW_S, MIN_WINDOW_S, Window
from probe_ext.measure.table_rows import WARM_UP, ReplyRow, ServerRow, UserRow
from probe_ext.verdict.grading.kind_profiles import KindProfiles
from probe_ext.verdict.values.answer import Answer
from probe_ext.verdict.values.capacity_estimate import Suggestion

RULES = Rules(CHAT)


def a_live_run() -> LiveRun:
    return LiveRun(RULES, VisitMonitor(CHAT, 3))


def pushed(window: Window, now: float, *rows: ReplyRow) -> None:
    window.push(now, judge(rows, KindProfiles(CHAT)))


def test_window_figures_come_from_its_replies() -> None:
    window = Window()
    waits = [0.1 * n for n in range(1, 11) for _ in range(2)]
    rows = [reply(n // 2, 5.0, first=5.0 + wait, tpot=0.02 * (n // 2 + 1)) for n, wait in enumerate(waits)]
    pushed(window, 20.0, *rows)
    figures = window.figures(20.0)
    assert (figures.replies, figures.failed) == (20, 0)
    assert figures.ttft_p50 == pytest.approx(np.quantile(waits, 0.5))
    assert figures.ttft_p95 == pytest.approx(np.quantile(waits, 0.95))
    assert figures.decode_rate_p50 == pytest.approx(np.quantile([50 / n for n in range(1, 11)], 0.5))
    assert figures.longest_gap_max == pytest.approx(0.2)
    assert figures.tokens_per_s == pytest.approx(400 / 20)  # the run is younger than the window
    assert (figures.served, figures.strained, figures.broken, figures.users) == (10, 10, 0, 10)


def test_no_percentile_of_too_few_replies() -> None:
    window = Window()
    pushed(window, 20.0, *(reply(n, 5.0) for n in range(19)))
    few = window.figures(20.0)
    assert few.ttft_p50 is not None
    assert (few.ttft_p95, few.decode_rate_p05) == (None, None)
    pushed(window, 20.0, reply(19, 5.0))
    assert None not in (window.figures(20.0).ttft_p95, window.figures(20.0).decode_rate_p05)


def test_empty_window_has_no_figures() -> None:
    window = Window()
    figures = window.figures(10.0)
    assert (figures.replies, figures.ttft_p95, figures.decode_rate_p50, figures.tokens_per_s) == (0, None, None, None)
    assert (figures.served, figures.users) == (0, 0)


def test_users_leave_the_window_with_their_replies() -> None:
    window = Window()
    pushed(window, 10.0, reply(1, 8.0), reply(2, 8.0, first=None, tpot=None, outcome="cut", end=9.0))
    pushed(window, 30.0, reply(3, 28.0))
    figures = window.figures(30.0)
    assert (figures.served, figures.broken, figures.failed, figures.users) == (2, 1, 1, 3)
    window.expire(10.0 + MIN_WINDOW_S + 1)
    figures = window.figures(41.0)
    assert (figures.served, figures.broken, figures.replies, figures.users) == (1, 0, 1, 1)


def test_late_batches_are_not_current() -> None:
    window = Window()
    pushed(window, 100.0, reply(1, 20.0), reply(2, 97.0))
    assert window.figures(100.0).replies == 1


def test_slow_replies_widen_the_window() -> None:
    window = Window()
    for t in range(60, 1000, 10):
        pushed(window, float(t), *(reply(n, t - 50.0, end=float(t)) for n in range(3)))
    assert window.seconds == 100.0
    for t in range(1000, 4000, 100):
        pushed(window, float(t), *(reply(n, t - 290.0, end=float(t)) for n in range(3)))
    assert window.seconds == MAX_WINDOW_S


def test_window_restarts_when_users_leave() -> None:
    live = a_live_run()
    for second in range(10):
        live.on_users(UserRow(float(second), 8, 8, "running"))
        for user in range(8):
            live.on_reply(reply(user, second - 2.0))
        live.tick(float(second))
    assert live.now is not None
    assert (live.now.window.served, live.now.window.users) == (64, 8)
    live.on_users(UserRow(10.0, 2, 2, "running"))
    live.on_reply(reply(7, 8.0))  # one of those who left
    now = live.tick(10.0)
    assert (now.users, now.window.served, now.window.users) == (2, 0, 0)
    live.on_reply(reply(0, 10.5))
    now = live.tick(13.0)
    assert (now.window.served, now.window.users) == (1, 1)


def test_ignores_a_scenarios_warm_up() -> None:
    live = a_live_run()
    live.on_users(UserRow(0.0, 1, 1, "running"))
    live.on_reply(reply(0, 0.0, scenario=WARM_UP, first=50.0))
    now = live.tick(60.0)
    assert (now.replies, now.window.replies, now.window.users) == (1, 0, 0)


def test_window_forgets_users_who_left() -> None:
    window = Window()
    for t in range(600):
        pushed(window, float(t), reply(f"x{t}", t - 2.0))
    assert len(window._replies_by_user) == window.figures(599.0).replies == window.figures(599.0).served


def test_sums_engines_and_handles_counter_resets() -> None:
    server = ServerNow()
    polls = ((0.0, 0.3, 0.7, 2, 5), (1.0, 0.4, 0.6, 3, 9), (2.0, 0.5, 0.2, 4, 1))
    for t, one, other, waiting, preempted in polls:
        rows = [("0", "kv_usage", one), ("1", "kv_usage", other), ("0", "waiting", waiting), ("1", "waiting", 1)]
        rows.append(("0", "preemptions", preempted))
        server.add([ServerRow(t, "u", engine, name, float(value)) for engine, name, value in rows])
    assert server.kv_usage(2.0) == 0.5
    assert server.requests("waiting", 2.0) == 5
    assert server.requests("running", 2.0) is None
    assert server.preemptions == 4 + 1  # from 5 to 9; then reset to 0, and up to 1
    assert (server.new_preemptions(), server.new_preemptions()) == (5, 0)
    assert server.kv_usage(8.0) is None  # stale


@pytest.mark.parametrize(
    ("every", "after", "seen"), [(1.0, 4.0, True), (1.0, 6.0, False), (10.0, 14.0, True), (10.0, 26.0, False)]
)
def test_metrics_scraped_seldom_stay_until_the_next_scrapes_are_missing(every: float, after: float, seen: bool) -> None:
    server = ServerNow(every)
    server.add([ServerRow(3.0, "u", "0", "kv_usage", 0.5), ServerRow(3.0, "u", "0", "waiting", 2.0)])
    assert server.kv_usage(3.0 + after) == (0.5 if seen else None)
    assert server.requests("waiting", 3.0 + after) == (2.0 if seen else None)


def test_prefers_a_total_over_its_parts() -> None:
    server = ServerNow()
    for t in (0.0, 1.0):
        parts = [("0", "waiting", 2.0), ("1", "waiting", 3.0), ("all", "waiting", 5.0)]
        parts += [("all", "preemptions", 4 * t), ("0", "preemptions", 4 * t)]
        server.add([ServerRow(t, "u", *part) for part in parts])
    assert (server.requests("waiting", 1.0), server.preemptions) == (5.0, 4)


def test_cpu_share() -> None:
    cpu = CpuTrack()
    for second in range(30):
        cpu.add("busy", float(second), 0.9 * second)
        cpu.add("silent", float(min(second, 3)), 0.1 * min(second, 3))
    assert cpu.share("busy", 29.0) == pytest.approx(0.9)
    assert cpu.share("silent", 29.0) is None
    assert cpu.share("nobody", 29.0) is None
    cpu.add("busy", 30.0, 0.1)  # it was restarted
    assert cpu.share("busy", 30.0) is None


def measured(*spans: tuple[int, float], seconds: int = 60) -> LiveRun:
    """Return a run with visits of these numbers of users, whose first word takes so long."""
    monitor = VisitMonitor(CHAT, 3)
    live = LiveRun(Rules(CHAT, planned=True), monitor)
    for n, (users, wait) in enumerate(spans):
        start = n * seconds
        monitor.begin_visit(float(start), users)
        for second in range(start, start + seconds):
            live.on_users(UserRow(float(second), users, users, "running"))
            if second < start + seconds - 20:
                for user in range(users):
                    live.on_reply(reply(user, second + 0.01 * user, first=second + wait))
            live.tick(float(second))
        if n + 1 < len(spans):
            monitor.end_visit(float(start + seconds), more_users=False)
    live.tick(float(seconds * len(spans)), final=True)
    return live


def headline_of(live: LiveRun) -> tuple[str, str]:
    head = status_text.headline(live.now, live.levels.estimate)
    return head.number + head.rest, head.tone


def started(users: int, *rows: ReplyRow) -> LiveRun:
    live = a_live_run()
    live.on_users(UserRow(0.0, users, users, "running"))
    for row in rows:
        live.on_reply(row)
    live.tick(3.0)
    return live


def test_headline_before_the_first_level() -> None:
    assert headline_of(started(0)) == ("No users.", "")
    assert headline_of(started(24)) == ("24 people, no replies yet.", "")
    slow = [reply(user, 0.1, first=2.5) for user in range(5)]
    assert headline_of(started(62, *slow)) == ("Too early to say.", ""), "the others have not finished a reply"


def test_headline_tells_the_capacity_so_far() -> None:
    assert headline_of(measured((8, 0.2))) == ("At least 8 people can use this at once, so far.", "")
    assert headline_of(measured((1, 5.0))) == ("Not even 1 person is served, so far.", "bad")
    assert headline_of(measured((4, 0.2), (8, 5.0))) == (
        "At least 4 people can use this at once; 8 are too many, so far.",
        "",
    )
    assert headline_of(measured((4, 0.2), (5, 5.0))) == ("4 people can use this at once; 5 are too many, so far.", "")


CURVE = {"served_users": 18, "interval": (14, 24), "bracket": (14, 25), "placed_by_curve": True}
GUESS = {"interval": (0, 15), "bracket": (None, 16), "suggestion": Suggestion(9, 0, 15)}


@pytest.mark.parametrize(
    ("changes", "said", "short"),
    [
        (CURVE, "About 18 people can use this at once (95 %: 14 to 24), so far.", "about 18 (14–24)"),
        (GUESS, "Probably about 9 people (95 %: 0 to 15), so far.", "fewer than 16"),
        ({**GUESS, "suggestion": None}, "Probably fewer than 8 people, so far.", "fewer than 16"),
        ({"interval": (0, 0), "bracket": (None, 1)}, "Not even 1 person is served, so far.", "0"),
        (
            {"interval": (8, None), "bracket": (8, None)},
            "At least 8 people can use this at once, so far.",
            "at least 8",
        ),
        ({"interval": (0, None), "bracket": (None, None)}, "Too early to say.", ""),
    ],
)
def test_capacity_so_far_in_words(changes: dict[str, object], said: str, short: str) -> None:
    live = measured((8, 0.2))
    assert live.levels.estimate is not None
    known = replace(live.levels.estimate, **changes)  # type: ignore[arg-type]
    head = status_text.headline(live.now, known)
    assert (head.number + head.rest, status_text.short_capacity(known)) == (said, short)


def test_replies_that_all_fail_say_why() -> None:
    refused = dict.fromkeys(("first", "tpot", "tokens_out", "last", "longest_gap"))
    refused |= {"outcome": "http_error", "status": 400, "message": "HTTP 400: max_tokens is too large", "end": 0.3}
    live = started(24, *(reply(user, 0.1, **refused) for user in range(24)))
    assert live.now is not None
    said = "HTTP 400: max_tokens is too large. Change --max-tokens to what the model allows."
    assert headline_of(live) == (f"All 24 replies failed: {said}", "bad")
    assert status_text.progress(live.now, "level 1 of 3").startswith("Level 1 of 3. ")
    assert status_line(live.now, None) == "all 24 replies failed: HTTP 400: max_tokens is too large"
    assert status_line(live.now, None, width=20) == "all 24 replies fail…"


def test_some_failures_that_are_alike_say_why() -> None:
    cut = {"outcome": "cut", "message": None}
    live = started(3, reply(0, 0.1), reply(1, 0.1, **cut), reply(2, 0.1, **cut))
    assert status_text.progress(live.now, "") == "2 replies failed. cut."
    live.on_reply(reply(2, 0.1, outcome="stalled"))
    assert live.tick(4.0).failure is None, "they are not alike"


def test_headline_from_a_report() -> None:
    placed = Answer("", (), "About", "44", "people can use this at once", "43 to 46", "40 holds, 48 fails.")
    head, more = status_text.answered(placed, any_served=True)
    assert (head.number, head.rest) == ("About 44", " people can use this at once (95 %: 43 to 46).")
    assert (head.tone, more) == ("good", "40 holds, 48 fails.")
    none = replace(placed, before="Not even", number="1", after="person is served")
    head, more = status_text.answered(none, any_served=False)
    assert (head.number, head.tone) == ("Not even 1", "bad")
    head, more = status_text.answered(replace(none, before="Never even"), any_served=False)
    assert head.tone == "bad", "the value decides, not the words"
    for doubtful in (replace(placed, caveats=("With replies cut short",)), replace(placed, invalid="x")):
        assert status_text.answered(doubtful, any_served=True) == (status_text.Headline("", doubtful.sentence), "")


def test_describes_the_current_level() -> None:
    assert status_text.progress(None, "") == ""
    live = a_live_run()
    live.on_users(UserRow(0.0, 2, 2, "running"))
    assert status_text.progress(live.tick(1.0), "").endswith("measuring starts in 4 s.")
    said = status_text.progress(measured((8, 0.2)).now, "level 1 of 3")
    assert said.startswith("Level 1 of 3. 8 people for 60 s: 100 % of replies served (95 %: 9")
    assert said.endswith(" to 100 %), this level holds so far.")
    said = status_text.progress(measured((8, 3.0)).now, "")
    assert said.endswith(", this level fails so far, limited by the wait for the first word.")


def level(**changes: object) -> LevelNow:
    now = measured((8, 0.2)).now
    assert now is not None
    assert now.level is not None
    return replace(now.level, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"replies": 7}, "too early to say, 7 measured replies"),
        ({"replies": 1, "served_share": None}, "too early to say, 1 measured reply"),
        (
            {"reasons": ("too_close",), "replies_needed": 30},
            "{}, not proven yet: too close to call; about 30 more replies would settle it",
        ),
        ({"reasons": ("too_close",)}, "{}, not proven yet: too close to call"),
        (
            {"reasons": ("visits_disagree",), "replies_needed": 30},
            "{}, not proven yet: its visits differ by more than chance",
        ),
    ],
)
def test_says_why_a_level_is_not_proven_yet(changes: dict[str, object], said: str) -> None:
    share = {"served_share": 0.97, "served_share_low": 0.9, "served_share_high": 0.99}
    shown = "97 % of replies served (95 %: 90 % to 99 %)"
    assert status_text.level_status(level(**{"state": "unproven", **share, **changes})) == said.format(shown)


def test_omits_unknown_figures() -> None:
    live = a_live_run()
    live.on_users(UserRow(0.0, 2, 2, "running"))
    assert status_line(live.tick(1.0), None) == "2 users · settling, 4 s · 0 replies"
    live.on_reply(reply(0, 0.0))
    live.on_server([ServerRow(2.0, "u", "0", "kv_usage", 0.63), ServerRow(2.0, "u", "0", "waiting", 2.0)])
    figures = "last 6 s: TTFT p50 0.20 s, 20 tok/s per reply · KV 63 % · 2 waiting"
    assert status_line(live.tick(6.0), None) == f"2 users · 1 reply in all · {figures}"


def test_no_figure_is_nan() -> None:
    live = a_live_run()
    live.on_users(UserRow(0.0, 1, 1, "running"))
    nothing = dict.fromkeys(("first", "tpot", "tokens_out", "lag_max", "longest_gap", "longest_gap_visible"))
    live.on_reply(replace(reply(0, 0.0, outcome="connect_failed", **nothing), sent=None))
    now = live.tick(2.0)
    values = [v for v in (*vars_of(now), *vars_of(now.window)) if isinstance(v, float)]
    assert values
    assert not [v for v in values if math.isnan(v)]
    assert (now.failed, now.window.broken, now.window.ttft_p95) == (1, 1, None)
    assert live.lags() == {}


def vars_of(thing: object) -> list[object]:
    return [getattr(thing, name) for name in thing.__dataclass_fields__]  # type: ignore[attr-defined]
