"""The progress line on a terminal, and the lines in a file."""

import io
from dataclasses import replace
from typing import Any

import pytest
from worlds import CHAT, reply

from probe_ext.live.capacity_range.range_memory import Widening
from probe_ext.live.live_levels import Rules
from probe_ext.live.live_run import LiveRun, Now
from probe_ext.live.status_line import status_line
from probe_ext.live.status_text import headline, level_status
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.measure.table_rows import ServerRow, UserRow
from probe_ext.settings.options import read_options
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.terminal.console import ProgressLine


class Screen(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)


def a_live_run(*, planned: bool = False) -> LiveRun:
    return LiveRun(Rules(CHAT, planned=planned), VisitMonitor(CHAT, 3))


def moment(t: float, users: int, *outcomes: str) -> Now:
    live = a_live_run()
    live.on_users(UserRow(0.0, users, users, "running"))
    for n, outcome in enumerate(outcomes):
        live.on_reply(reply(n, t - 3.0, outcome=outcome, first=t - 2.5))
    return live.tick(t)


def test_a_server_that_no_longer_answers_is_named_before_anything_else() -> None:
    live = a_live_run()
    live.on_users(UserRow(0.0, 2, 2, "running"))
    for t in range(20):
        live.on_reply(reply(0, float(t)))
    assert not live.tick(22.0).gone
    for t in range(3):
        live.on_reply(reply(0, 30.0 + t, outcome="connect_failed", message="Connection refused"))
    now = live.tick(33.0)
    said = "the server no longer answers (connection refused since 0:20)"
    assert said in status_line(now, None)
    assert said in status_line(now, None, "level 1 of 3", width=len(said) + 12)
    assert headline(now, None).rest.startswith(f"T{said[1:]}")
    live.on_reply(reply(0, 40.0))
    assert not live.tick(42.0).gone, "it came back"


def measured(users: int, wait: float, *, until: int = 61) -> LiveRun:
    """Return a run with one visit from its fifth second on, with a reply to each user every second."""
    live = a_live_run(planned=True)
    live.levels._monitor.begin_visit(5.0, users)
    for second in range(until + 1):
        live.on_users(UserRow(float(second), users, users, "running"))
        for user in range(users):
            live.on_reply(reply(user, second - 21.0, first=second - 21.0 + wait))
        live.tick(float(second), final=second == until)
    return live


def test_rewrites_one_line_on_a_terminal() -> None:
    screen = Screen(terminal=True)
    progress = ProgressLine(screen)
    progress.show(moment(1.0, 1), None, "")
    live = a_live_run()
    live.on_users(UserRow(0.0, 3, 3, "running"))
    for n, outcome in enumerate(("complete", "cut", "ended_by_us")):
        live.on_reply(reply(n, 59.0, outcome=outcome, first=59.5))
    server = {"kv_usage": 0.63, "waiting": 2.0}
    live.on_server([ServerRow(61.0, "u", "0", name, value) for name, value in server.items()])
    for preemptions in (0.0, 4.0):
        live.on_server([ServerRow(61.0, "u", "0", "preemptions", preemptions)])
    progress.show(live.tick(62.0), None, "")
    assert "\n" not in screen.getvalue()
    last = screen.getvalue().split("\r\x1b[2K")[-1]
    figures = "last 30 s: TTFT p50 0.50 s, 20 tok/s per reply · KV 63 % · 2 waiting · 4 preemptions"
    assert last == f"01:02  3 users · 3 replies in all · 1 failed · {figures}"
    progress.clear()
    assert screen.getvalue().endswith("\r\x1b[2K")


def test_the_next_level_stands_beside_its_own_number_of_users() -> None:
    live = measured(8, 0.4)
    live.levels._monitor.end_visit(61.0, more_users=True)  # the plan moves on; Locust has started nobody yet
    now = live.tick(61.0, position="level 2 of 3", target=16)
    assert now.users == 8
    assert status_line(now, None, now.position).startswith("level 2 of 3 · 8 of 16 users · ")
    assert "served" not in status_line(now, None, now.position), "a share of the level before"
    falling = live.tick(62.0, position="second visit to 4", target=4)
    assert status_line(falling, None, falling.position).startswith("second visit to 4 · 8 users, down to 4 · ")


@pytest.fixture(scope="module")
def full() -> LiveRun:
    """A run with all figures known: two levels, of which the second is a little too much."""
    live = measured(12, 0.4)
    live.levels._monitor.end_visit(61.0, more_users=True)
    live.levels._monitor.begin_visit(70.0, 16)
    for second in range(62, 131):
        live.on_users(UserRow(float(second), 16, 16, "running"))
        for user in range(16):
            sent = second - 8.0
            outcome = "cut" if (user, second) == (3, 100) else "complete"
            live.on_reply(
                reply(
                    user, sent, first=sent + (1.5 if sent > 61 and (user + second) % 4 == 0 else 0.42), outcome=outcome
                )
            )
        server = {"kv_usage": 0.97, "waiting": 4.0, "preemptions": second - 62.0}
        live.on_server([ServerRow(float(second), "u", "0", name, value) for name, value in server.items()])
        live.tick(float(second), final=second == 130)
    assert live.levels.estimate is not None
    assert live.levels.estimate.interval == (12, 15)
    live.levels.estimate = replace(live.levels.estimate, placed_by_curve=True, served_users=13)
    return live


FITTING = {
    200: "level 2 of 3 · 16 users · 75 % of 848 replies served (72–78) · so far about 13 (12–15) · 1 failed · "
    "TTFT p95 1.5 s · 20 tok/s per reply · KV 97 % · 4 waiting · 68 preemptions",
    160: "level 2 of 3 · 16 users · 75 % served · so far about 13 (12–15) · 1 failed · TTFT p95 1.5 s · "
    "20 tok/s per reply · KV 97 % · 4 waiting · 68 preemptions",
    120: "2 of 3 · 16 users · 75 % served · so far about 13 (12–15) · TTFT p95 1.5 s · KV 97 % · 4 wait · "
    "68 preemptions",
    80: "16 users · 75 % served · so far about 13 (12–15) · TTFT p95 1.5 s",
    60: "16 users · 75 % served · so far about 13 (12–15)",
    40: "16 users · 75 % served · 4 wait",
}


def on_a_terminal_of(columns: int, live: LiveRun, position: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen(terminal=True)
    assert live.now is not None
    ProgressLine(screen).show(live.now, live.levels.estimate, position)
    said = screen.getvalue().split("\r\x1b[2K")[-1]
    assert len(said) < columns  # a line as wide as the terminal could not be cleared
    return said


@pytest.mark.parametrize("columns", FITTING)
def test_narrow_terminals_omit_the_least_important_parts(
    columns: int, full: LiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert on_a_terminal_of(columns, full, "level 2 of 3", monkeypatch) == f"02:10  {FITTING[columns]}"


def test_ttft_and_typing_speed_are_those_of_the_level_that_is_named(full: LiveRun) -> None:
    """Or else of recent replies, which may be those of the levels before: then it says so."""
    fast = measured(8, 0.4, until=40)
    now = fast.now
    assert now is not None
    assert now.level is not None
    assert " served (87–100) · TTFT p95 0.40 s · 20 tok/s per reply" in status_line(now, None)
    fast.levels._monitor.end_visit(40.0, more_users=True)
    ramp = fast.tick(41.0, position="level 2 of 3", target=16)
    assert status_line(ramp, None).endswith("last 30 s: TTFT p95 0.40 s, 20 tok/s per reply")
    fast.levels._monitor.begin_visit(42.0, 16)
    fast.on_users(UserRow(42.0, 16, 16, "running"))
    for user in range(4):
        fast.on_reply(reply(user, 42.5, first=43.7, end=44.0))
    second = fast.tick(46.0)
    assert second.window.ttft_p50 != pytest.approx(1.2), "the window still has replies of the level before"
    assert "TTFT p50 1.2 s" in status_line(second, None), "p50 as long as they are few"


def test_replies_are_those_of_the_level_that_is_named() -> None:
    live = measured(8, 0.4, until=40)
    live.levels._monitor.end_visit(40.0, more_users=True)
    live.on_users(UserRow(41.0, 16, 16, "running"))
    between = status_line(live.tick(41.0), None)
    assert f" · {live.now.replies if live.now else 0} replies in all" in between
    live.levels._monitor.begin_visit(42.0, 16)
    live.on_reply(reply(0, 42.5, first=42.7, end=43.0))
    assert "16 users · too early to say · 1 reply since settling · " in status_line(live.tick(46.0), None)
    for second in range(43, 60):
        live.on_reply(reply(second % 16, float(second), first=second + 0.2, end=second + 0.9))
    assert "100 % of 18 replies served" in status_line(live.tick(80.0), None)


def test_of_a_level_that_is_visited_again_it_says_which_figures_are_of_all_visits() -> None:
    """Else 50 % served would stand beside a TTFT that meets its bound."""
    live = measured(8, 1.5, until=40)
    live.levels._monitor.end_visit(40.0, more_users=False)
    live.levels._monitor.begin_visit(42.0, 8)
    for second in range(43, 60):
        for user in range(8):
            live.on_reply(reply(user, float(second), first=second + 0.2, end=second + 0.9))
    live.on_users(UserRow(80.0, 8, 8, "running"))
    now = live.tick(80.0, final=True)
    assert now.level is not None
    assert now.level.served_share is not None
    assert now.level.served_share < 1.0
    line = status_line(now, None)
    assert " served in all visits (" in line
    assert " · this visit: TTFT p95 0.20 s · 20 tok/s per reply" in line
    assert "of replies served in all visits (95 %: " in level_status(now.level)
    first = measured(8, 0.4, until=40).now
    assert first is not None
    assert "visit" not in status_line(first, None)


def test_while_a_plan_waits_for_the_level_before_the_line_says_that_it_settles() -> None:
    live = measured(8, 0.4, until=40)
    live.levels._monitor.end_visit(40.0, more_users=True)
    for second in range(41, 50):
        live.on_users(UserRow(float(second), 16, 16, "running"))
    now = live.tick(49.0, position="search", target=16)
    assert now.settles_in is None
    assert status_line(now, None, now.position).startswith("search · 16 users · settling · ")


def test_the_range_so_far_is_never_shown_as_final(full: LiveRun) -> None:
    assert full.now is not None
    lines = [status_line(full.now, full.levels.estimate, "", width) for width in range(200)]
    assert all("so far about 13" in line for line in lines if "about 13" in line)


def test_a_range_that_is_wider_than_it_was_says_why(full: LiveRun) -> None:
    assert full.now is not None
    why = Widening("14 was not proven", "The range's lower end was 14 before.")
    now, known = replace(full.now, widening=why), full.levels.estimate
    assert "so far about 13 (12–15), 14 was not proven" in status_line(now, known)
    assert headline(now, known).rest.endswith("The range's lower end was 14 before.")
    assert all(
        "12–15" not in line or why.short in line for line in (status_line(now, known, "", w) for w in range(200))
    )


@pytest.mark.parametrize("columns", range(1, 200, 7))
def test_never_truncates_a_figure(columns: int, full: LiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    screen = Screen(terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert full.now is not None
    ProgressLine(screen).show(full.now, full.levels.estimate, "level 2 of 3")
    shown = screen.getvalue().split("\r\x1b[2K")[-1][len("02:10  ") :].split(" · ")
    whole = {part for line in FITTING.values() for part in line.split(" · ")} | {"", "68 preempted"}
    assert set(shown) <= whole


@pytest.mark.parametrize(
    ("columns", "said"),
    [(200, "search, about 3 more minutes"), (120, "search"), (60, "")],
)
def test_a_search_tells_how_long_it_will_take(
    columns: int, said: str, full: LiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = on_a_terminal_of(columns, full, "search, about 3 more minutes", monkeypatch)
    assert line.removeprefix("02:10  ").startswith(said)


def test_ignores_a_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(Screen):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    for terminal in (True, False):
        progress = ProgressLine(Closed(terminal))
        progress.show(moment(3.0, 2), None, "")
        progress.show_preparation("warming the server up", 10.0)
        progress.clear()


@pytest.mark.parametrize(("wait", "colour"), [(0.1, "\x1b[32m"), (20.0, "\x1b[31m")])
def test_colours_the_level_on_a_terminal_only(wait: float, colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = measured(4, wait).now
    assert now is not None
    screen, file = Screen(terminal=True), Screen(terminal=False)
    ProgressLine(screen).show(now, None, "")
    ProgressLine(file).show(now, None, "")
    assert colour in screen.getvalue()
    assert "\x1b" not in file.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Screen(terminal=True)
    ProgressLine(plain).show(now, None, "")
    assert colour not in plain.getvalue()


def test_files_get_a_line_on_changes_and_now_and_then() -> None:
    screen = Screen(terminal=False)
    progress = ProgressLine(screen)
    for second in range(40):
        progress.show(moment(float(second + 9), 2 if second < 5 else 4), None, "")
    lines = screen.getvalue().splitlines()
    assert lines == ["00:09  2 users · 0 replies", "00:14  4 users · 0 replies", "00:44  4 users · 0 replies"]


def test_files_get_a_few_lines_for_a_ramp() -> None:
    plan = read_options({"levels": "30,40", "hold": "1s"}).plan
    assert plan is not None
    shape: Any = LevelShape(plan, lambda: None, lambda: False, lambda: 0.0)
    screen = Screen(terminal=False)
    progress = ProgressLine(screen)
    for second in range(13):
        shape.steps.index = int(second >= 12)
        progress.show(moment(float(second + 9), min(30, 10 + 2 * second)), None, shape.steps.position)
    said = [line.removesuffix(" · 0 replies") for line in screen.getvalue().splitlines()]
    assert said == [
        "00:09  level 1 of 2 · 10 users",
        "00:14  level 1 of 2 · 20 users",
        "00:19  level 1 of 2 · 30 users",
        "00:21  level 2 of 2 · 30 users",
    ]


def test_shows_the_planned_level() -> None:
    screen = Screen(terminal=False)
    plan = read_options({"levels": "2,4", "hold": "1s"}).plan
    assert plan is not None
    shape: Any = LevelShape(plan, lambda: None, lambda: False, lambda: 0.0)
    ProgressLine(screen).show(moment(3.0, 2), None, shape.steps.position)
    assert screen.getvalue() == "00:03  level 1 of 2 · 2 users · settling, 2 s · 0 replies\n"


def test_shows_preparations_with_their_duration() -> None:
    screen, file = Screen(terminal=True), Screen(terminal=False)
    for stream in (screen, file):
        progress = ProgressLine(stream)
        for second in range(65):
            progress.show_preparation("warming the server up: 8 requests at once", float(second))
    assert screen.getvalue().endswith("\r\x1b[2Kbefore the run, 01:04  warming the server up: 8 requests at once")
    assert [line[:21] for line in file.getvalue().splitlines()] == ["before the run, 00:05", "before the run, 00:35"]


def test_an_ending_run_shows_that_it_waits_and_no_level() -> None:
    screen, file = Screen(terminal=True), Screen(terminal=False)
    for stream in (screen, file):
        progress = ProgressLine(stream)
        progress.show(moment(9.0, 4), None, "level 2 of 2")
        for second in (10.0, 11.0):
            progress.show_ending(second)
    assert screen.getvalue().endswith("\r\x1b[2K00:11  waiting for the replies in flight")
    assert file.getvalue().splitlines()[1:] == ["00:10  waiting for the replies in flight"]


def test_a_line_in_a_file_names_a_second_visit() -> None:
    screen = Screen(terminal=False)
    progress = ProgressLine(screen)
    progress.show(moment(9.0, 4), None, "level 2 of 2")
    progress.show(moment(10.0, 4), None, "second visit to 4, to see if the server has changed")
    assert screen.getvalue().splitlines()[1].startswith("00:10  second visit to 4, to see if the server has changed")
