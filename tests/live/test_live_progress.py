"""The line on a terminal, and what a file gets instead."""

import io
from typing import Any

import pytest
from worlds import CHAT, reply

from probe_ext.live.levels import Rules
from probe_ext.live.run import LiveRun, Now
from probe_ext.measure.rows import ServerRow, UserRow
from probe_ext.settings.options import read_options
from probe_ext.swarm.progress import Progress
from probe_ext.swarm.shape import LevelShape


class Screen(io.StringIO):
    """A stream that says of itself whether it is a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)


def moment(t: float, users: int, *outcomes: str) -> Now:
    live = LiveRun(Rules(CHAT, settle=5.0))
    live.on_users(UserRow(0.0, users, users, "running"))
    for n, outcome in enumerate(outcomes):
        live.on_reply(reply(n, t - 3.0, outcome=outcome, first=t - 2.5))
    return live.tick(t)


def standing(holds: bool) -> Now:
    live = LiveRun(Rules(CHAT, settle=5.0))
    for second in range(30):
        live.on_users(UserRow(float(second), 1, 1, "running"))
        live.on_reply(reply(0, second - 3.0, first=second - 3.0 + (0.1 if holds else 20)))
        live.tick(float(second))
    assert live.now is not None
    return live.now


def test_on_a_terminal_one_line_is_rewritten() -> None:
    screen = Screen(terminal=True)
    progress = Progress(screen)
    progress.show(moment(1.0, 1), None)
    live = LiveRun(Rules(CHAT, settle=5.0))
    live.on_users(UserRow(0.0, 3, 3, "running"))
    for n, outcome in enumerate(("complete", "cut", "ended_by_us")):
        live.on_reply(reply(n, 59.0, outcome=outcome, first=59.5))
    server = {"kv_usage": 0.63, "waiting": 2.0}
    live.on_server([ServerRow(61.0, "u", "0", name, value) for name, value in server.items()])
    for preemptions in (0.0, 4.0):
        live.on_server([ServerRow(61.0, "u", "0", "preemptions", preemptions)])
    progress.show(live.tick(62.0), None)
    assert "\n" not in screen.getvalue()
    last = screen.getvalue().split("\r\x1b[2K")[-1]
    figures = "TTFT p95 0.50 s · 20 tok/s each · KV 63 % · 2 waiting · 4 preemptions"
    assert last == f"01:02  3 users: 1 served, 1 broken · 3 replies, 1 failed · {figures}"
    progress.clear()
    assert screen.getvalue().endswith("\r\x1b[2K")


def test_a_narrow_terminal_gets_a_line_that_can_be_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    screen = Screen(terminal=True)
    Progress(screen).show(moment(62.0, 3, "complete", "cut"), None)
    assert len(screen.getvalue().split("\r\x1b[2K")[-1]) == 39


@pytest.mark.parametrize(("holds", "colour"), [(True, "\x1b[32m"), (False, "\x1b[31m")])
def test_colour_says_how_the_level_stands_on_a_terminal_alone(
    holds: bool, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = standing(holds)
    screen, file = Screen(terminal=True), Screen(terminal=False)
    Progress(screen).show(now, None)
    Progress(file).show(now, None)
    assert colour in screen.getvalue()
    assert "\x1b" not in file.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Screen(terminal=True)
    Progress(plain).show(now, None)
    assert colour not in plain.getvalue()


def test_in_a_file_a_line_is_written_when_something_changes_and_now_and_then() -> None:
    screen = Screen(terminal=False)
    progress = Progress(screen)
    for second in range(40):
        progress.show(moment(float(second), 2 if second < 5 else 4), None)
    lines = screen.getvalue().splitlines()
    assert lines == ["00:00  2 users · 0 replies", "00:05  4 users · 0 replies", "00:35  4 users · 0 replies"]


def test_the_level_is_told_where_there_are_levels() -> None:
    screen = Screen(terminal=False)
    plan = read_options({"levels": "2,4", "hold": "1s"}).plan
    assert plan is not None
    shape: Any = LevelShape(plan, lambda: None, lambda: False, lambda: 0.0)
    Progress(screen).show(moment(3.0, 2), shape)
    assert screen.getvalue() == "00:03  level 1 of 2 · 2 users · 0 replies\n"


def test_what_is_done_before_a_run_is_told_with_the_time_it_takes() -> None:
    screen, file = Screen(terminal=True), Screen(terminal=False)
    for stream in (screen, file):
        progress = Progress(stream)
        for second in range(65):
            progress.preparing("warming the server up: 8 requests at once", float(second))
    assert screen.getvalue().endswith("\r\x1b[2K01:04  warming the server up: 8 requests at once")
    assert [line[:5] for line in file.getvalue().splitlines()] == ["00:05", "00:35"]
