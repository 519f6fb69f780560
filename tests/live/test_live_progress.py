"""The progress line on a terminal, and the lines in a file."""

import io
from typing import Any

import pytest
from worlds import CHAT, reply

from probe_ext.live.live_levels import Rules
from probe_ext.live.live_run import LiveRun, Now
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


def test_rewrites_one_line_on_a_terminal() -> None:
    screen = Screen(terminal=True)
    progress = ProgressLine(screen)
    progress.show(moment(1.0, 1), "")
    live = LiveRun(Rules(CHAT, settle=5.0))
    live.on_users(UserRow(0.0, 3, 3, "running"))
    for n, outcome in enumerate(("complete", "cut", "ended_by_us")):
        live.on_reply(reply(n, 59.0, outcome=outcome, first=59.5))
    server = {"kv_usage": 0.63, "waiting": 2.0}
    live.on_server([ServerRow(61.0, "u", "0", name, value) for name, value in server.items()])
    for preemptions in (0.0, 4.0):
        live.on_server([ServerRow(61.0, "u", "0", "preemptions", preemptions)])
    progress.show(live.tick(62.0), "")
    assert "\n" not in screen.getvalue()
    last = screen.getvalue().split("\r\x1b[2K")[-1]
    figures = "TTFT p95 0.50 s · 20 tok/s each · KV 63 % · 2 waiting · 4 preemptions"
    assert last == f"01:02  3 users: 1 served, 1 broken · 3 replies · 1 failed · {figures}"
    progress.clear()
    assert screen.getvalue().endswith("\r\x1b[2K")


def full(users: int = 12, preemptions: float = 14.0, bad: int = 10) -> Now:
    """Figures with all values known: one user is broken, `bad` are strained or broken."""
    live = LiveRun(Rules(CHAT, settle=5.0))
    live.on_users(UserRow(0.0, users, users, "running"))
    for n in range(120):
        user = n % 10
        first = 60.5 if user < bad else 59.42
        live.on_reply(reply(user, 59.0, outcome="complete" if user or not bad else "cut", first=first))
    server = {"kv_usage": 0.97, "waiting": 4.0}
    live.on_server([ServerRow(61.0, "u", "0", name, value) for name, value in server.items()])
    live.on_server([ServerRow(61.0, "u", "0", "preemptions", value) for value in (0.0, preemptions)])
    return live.tick(62.0)


FITTING = {
    160: "level 2 of 3 · 12 users: 9 strained, 1 broken · 120 replies · 12 failed · TTFT p95 1.5 s · 20 tok/s each · "
    "KV 97 % · 4 waiting · 14 preemptions",
    120: "12 users: 9 strained, 1 broken · 12 failed · TTFT p95 1.5 s · 20 tok/s · KV 97 % · 4 waiting · "
    "14 preemptions",
    100: "12 users: 9 strained, 1 broken · TTFT p95 1.5 s · 20 tok/s · KV 97 % · 4 wait · 14 preempted",
    80: "12 users: 9 strained, 1 broken · TTFT p95 1.5 s · 4 wait · 14 preempted",
    60: "12 users: 9 strained, 1 broken · TTFT p95 1.5 s",
    40: "12 users: 9 strained, 1 broken",
}


def on_a_terminal_of(columns: int, now: Now, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    screen = Screen(terminal=True)
    plan = read_options({"levels": "8,12,16", "hold": "1s"}).plan
    assert plan is not None
    shape: Any = LevelShape(plan, lambda: None, lambda: False, lambda: 0.0)
    shape.steps.index = 1
    ProgressLine(screen).show(now, shape.steps.position)
    said = screen.getvalue().split("\r\x1b[2K")[-1]
    assert len(said) < columns  # a line as wide as the terminal could not be cleared
    return said


@pytest.mark.parametrize("columns", FITTING)
def test_narrow_terminals_omit_the_least_important_parts(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_a_terminal_of(columns, full(), monkeypatch) == f"01:02  {FITTING[columns]}"


def test_eighty_columns_show_an_ordinary_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calm = full(users=10, preemptions=0.0, bad=0)
    said = on_a_terminal_of(80, calm, monkeypatch)
    assert said == "01:02  10 users: 10 served · TTFT p95 0.42 s · 20 tok/s · KV 97 % · 4 waiting"


@pytest.mark.parametrize("columns", range(1, 200, 7))
def test_never_truncates_a_figure(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    screen = Screen(terminal=True)
    ProgressLine(screen).show(full(), "")
    shown = screen.getvalue().split("\r\x1b[2K")[-1][len("01:02  ") :].split(" · ")
    whole = {part for line in FITTING.values() for part in line.split(" · ")} | {""}
    assert set(shown) <= whole


def test_ignores_a_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(Screen):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    for terminal in (True, False):
        progress = ProgressLine(Closed(terminal))
        progress.show(full(), "")
        progress.show_preparation("warming the server up", 10.0)
        progress.clear()


@pytest.mark.parametrize(("holds", "colour"), [(True, "\x1b[32m"), (False, "\x1b[31m")])
def test_colours_the_level_on_a_terminal_only(holds: bool, colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = standing(holds)
    screen, file = Screen(terminal=True), Screen(terminal=False)
    ProgressLine(screen).show(now, "")
    ProgressLine(file).show(now, "")
    assert colour in screen.getvalue()
    assert "\x1b" not in file.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Screen(terminal=True)
    ProgressLine(plain).show(now, "")
    assert colour not in plain.getvalue()


def test_files_get_a_line_on_changes_and_now_and_then() -> None:
    screen = Screen(terminal=False)
    progress = ProgressLine(screen)
    for second in range(40):
        progress.show(moment(float(second), 2 if second < 5 else 4), "")
    lines = screen.getvalue().splitlines()
    assert lines == ["00:00  2 users · 0 replies", "00:05  4 users · 0 replies", "00:35  4 users · 0 replies"]


def test_files_get_a_few_lines_for_a_ramp() -> None:
    plan = read_options({"levels": "30,40", "hold": "1s"}).plan
    assert plan is not None
    shape: Any = LevelShape(plan, lambda: None, lambda: False, lambda: 0.0)
    screen = Screen(terminal=False)
    progress = ProgressLine(screen)
    for second in range(13):
        shape.steps.index = int(second >= 12)
        progress.show(moment(float(second), min(30, 10 + 2 * second)), shape.steps.position)
    said = [line.removesuffix(" · 0 replies") for line in screen.getvalue().splitlines()]
    assert said == [
        "00:00  level 1 of 2 · 10 users",
        "00:05  level 1 of 2 · 20 users",
        "00:10  level 1 of 2 · 30 users",
        "00:12  level 2 of 2 · 30 users",
    ]


def test_shows_the_planned_level() -> None:
    screen = Screen(terminal=False)
    plan = read_options({"levels": "2,4", "hold": "1s"}).plan
    assert plan is not None
    shape: Any = LevelShape(plan, lambda: None, lambda: False, lambda: 0.0)
    ProgressLine(screen).show(moment(3.0, 2), shape.steps.position)
    assert screen.getvalue() == "00:03  level 1 of 2 · 2 users · 0 replies\n"


def test_shows_preparations_with_their_duration() -> None:
    screen, file = Screen(terminal=True), Screen(terminal=False)
    for stream in (screen, file):
        progress = ProgressLine(stream)
        for second in range(65):
            progress.show_preparation("warming the server up: 8 requests at once", float(second))
    assert screen.getvalue().endswith("\r\x1b[2K01:04  warming the server up: 8 requests at once")
    assert [line[:5] for line in file.getvalue().splitlines()] == ["00:05", "00:35"]
