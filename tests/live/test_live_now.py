"""The current figures: window, server, processes, sentences."""

import math
from dataclasses import replace

import numpy as np
import pytest
from worlds import CHAT, reply

from probe_ext.live import status_text
from probe_ext.live.cpu_load import CpuTrack
from probe_ext.live.live_levels import Rules
from probe_ext.live.live_run import LiveRun, Now
from probe_ext.live.reply_batch import judge
from probe_ext.live.server_now import ServerNow
from probe_ext.live.status_line import status_line
from probe_ext.live.window import MAX_WINDOW_S, MIN_WINDOW_S, Window
from probe_ext.measure.table_rows import WARM_UP, ReplyRow, ServerRow, UserRow

RULES = Rules(CHAT, settle=5.0)


def pushed(window: Window, now: float, *rows: ReplyRow) -> None:
    window.push(now, judge(rows, CHAT))


def test_window_figures_come_from_its_replies() -> None:
    window = Window()
    waits = [0.1 * n for n in range(1, 11)]
    rows = [reply(n, 5.0, first=5.0 + wait, tpot=0.02 * (n + 1)) for n, wait in enumerate(waits)]
    pushed(window, 20.0, *rows)
    figures = window.figures(20.0)
    assert (figures.replies, figures.failed) == (10, 0)
    assert figures.ttft_p50 == pytest.approx(np.quantile(waits, 0.5))
    assert figures.ttft_p95 == pytest.approx(np.quantile(waits, 0.95))
    assert figures.decode_rate_p50 == pytest.approx(np.quantile([50 / n for n in range(1, 11)], 0.5))
    assert figures.longest_gap_max == pytest.approx(0.2)
    assert figures.tokens_per_s == pytest.approx(200 / 20)  # the run is younger than the window
    people = window.people(CHAT.users)
    assert (people.served, people.strained, people.broken) == (5, 0, 0)
    assert people.undecided == 5  # one gap longer than a tenth of a second


def test_empty_window_has_no_figures() -> None:
    window = Window()
    figures = window.figures(10.0)
    assert (figures.replies, figures.ttft_p95, figures.decode_rate_p50, figures.tokens_per_s) == (0, None, None, None)
    assert window.people(CHAT.users).judged == 0


def test_users_leave_the_window_with_their_replies() -> None:
    window = Window()
    pushed(window, 10.0, reply(1, 8.0), reply(2, 8.0, first=None, tpot=None, outcome="cut", end=9.0))
    pushed(window, 30.0, reply(3, 28.0))
    people = window.people(CHAT.users)
    assert (people.served, people.broken, window.figures(30.0).failed) == (2, 1, 1)
    window.expire(10.0 + MIN_WINDOW_S + 1)
    people = window.people(CHAT.users)
    assert (people.served, people.broken, window.figures(41.0).replies) == (1, 0, 1)


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
    live = LiveRun(RULES)
    for second in range(10):
        live.on_users(UserRow(float(second), 8, 8, "running"))
        for user in range(8):
            live.on_reply(reply(user, second - 2.0))
        live.tick(float(second))
    assert live.now is not None
    assert live.now.users_served == 8
    live.on_users(UserRow(10.0, 2, 2, "running"))
    live.on_reply(reply(7, 8.0))  # one of those who left
    now = live.tick(10.0)
    assert (now.users, now.users_served, now.users_unheard) == (2, 0, 2)
    live.on_reply(reply(0, 10.5))
    now = live.tick(13.0)
    assert (now.users_served, now.users_unheard) == (1, 1)


def test_ignores_a_scenarios_warm_up() -> None:
    live = LiveRun(RULES)
    live.on_users(UserRow(0.0, 1, 1, "running"))
    live.on_reply(reply(0, 0.0, scenario=WARM_UP, first=50.0))
    now = live.tick(60.0)
    assert (now.replies, now.window.replies, now.users_unheard) == (1, 0, 1)


def test_window_forgets_users_who_left() -> None:
    window = Window()
    for t in range(600):
        pushed(window, float(t), reply(f"x{t}", t - 2.0))
    assert window._ledger.seen <= 3 * 32
    assert window.people(CHAT.users).served == window.figures(599.0).replies


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


def moment(users: int, served: int = 0, strained: int = 0, broken: int = 0) -> Now:
    live = LiveRun(RULES)
    live.on_users(UserRow(0.0, users, users, "running"))
    kinds = [(served, 0.2), (strained, 5.0), (broken, 12.0)]
    waits = [wait for n, wait in kinds for _ in range(n)]
    for user, wait in enumerate(waits):
        for n in range(3):
            live.on_reply(reply(user, 1.0 + n, first=1.0 + n + wait))
    return live.tick(20.0)


@pytest.mark.parametrize(
    ("now", "said", "tone"),
    [
        (moment(0), "No users.", ""),
        (moment(24), "24 people, no replies yet.", ""),
        (moment(1, served=1), "One person is served.", ""),
        (moment(1, broken=1), "One person is not served.", ""),
        (moment(24, served=24), "24 of 24 people are served.", "good"),
        (moment(24, served=22, strained=1, broken=1), "22 of 24 people are served.", "bad"),
        (moment(24, served=1), "1 of 24 people is served.", "good"),
        (moment(2000, served=1200), "1,200 of 2,000 people are served.", "good"),
    ],
)
def test_headline(now: Now, said: str, tone: str) -> None:
    head = status_text.headline(now, RULES)
    assert (head.number + head.rest, head.tone) == (said, tone)


def test_headline_from_a_report() -> None:
    head, more = status_text.answered("64 people at once feel served; at 96 typing speed broke first.")
    assert (head.number, head.rest, more) == ("64", " people at once feel served.", "At 96 typing speed broke first.")
    head, more = status_text.answered(
        "This run is not to be believed: x. Taken at its word: 64 people at once feel served."
    )
    assert (head.number, more) == ("", "")


def test_describes_the_current_level() -> None:
    assert status_text.progress(None, RULES) == ""
    live = LiveRun(RULES)
    live.on_users(UserRow(0.0, 2, 2, "running"))
    assert status_text.progress(live.tick(1.0), RULES).endswith("measuring starts in 4 s.")
    said = []
    for second in range(5, 40):
        live.on_users(UserRow(float(second), 2, 2, "running"))
        for user in (0, 1):
            live.on_reply(reply(user, second - 2.0, first=second - 2.0 + (0.1 if second < 25 else 20.0)))
        said.append(status_text.progress(live.tick(float(second)), RULES))
    assert said[0].endswith("too early to say, 0 of 2 have 3 judged replies.")
    assert said[12].endswith("this level holds so far.")
    assert said[-1].endswith("this level fails so far, limited by the wait for the first word.")


def test_names_undecided_users() -> None:
    live = LiveRun(RULES)
    for second in range(20):
        live.on_users(UserRow(float(second), 2, 2, "running"))
        for user in (0, 1):
            live.on_reply(reply(user, second - 2.0, first=second - 2.0 + (5.0 if (user, second) == (0, 12) else 0.1)))
        live.tick(float(second))
        if second == 12:
            assert status_text.progress(live.now, RULES).endswith("too early to say, 1 person undecided.")


def test_omits_unknown_figures() -> None:
    live = LiveRun(RULES)
    live.on_users(UserRow(0.0, 2, 2, "running"))
    assert status_line(live.tick(1.0)) == "2 users · 0 replies"
    live.on_reply(reply(0, 0.0))
    live.on_server([ServerRow(2.0, "u", "0", "kv_usage", 0.63), ServerRow(2.0, "u", "0", "waiting", 2.0)])
    figures = "TTFT p95 0.20 s · 20 tok/s each · KV 63 % · 2 waiting"
    assert status_line(live.tick(2.5)) == f"2 users: 1 served · 1 reply · {figures}"


def test_no_figure_is_nan() -> None:
    live = LiveRun(RULES)
    live.on_users(UserRow(0.0, 1, 1, "running"))
    nothing = dict.fromkeys(("first", "tpot", "tokens_out", "lag_max", "longest_gap", "longest_gap_visible"))
    live.on_reply(replace(reply(0, 0.0, outcome="connect_failed", **nothing), sent=None))
    now = live.tick(2.0)
    values = [v for v in (*vars_of(now), *vars_of(now.window)) if isinstance(v, float)]
    assert values
    assert not [v for v in values if math.isnan(v)]
    assert (now.failed, now.users_broken, now.window.ttft_p95) == (1, 1, None)
    assert live.lags() == {}


def vars_of(thing: object) -> list[object]:
    return [getattr(thing, name) for name in thing.__dataclass_fields__]  # type: ignore[attr-defined]
