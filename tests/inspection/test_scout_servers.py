"""`probe scout` on simulated servers: honest, caching, cutting, absent, and switched off and on."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from probe_ext import cli
from probe_ext.exit_codes import ExitCode
from probe_ext.inspection.scout import scout_output
from probe_ext.inspection.scout.board_page import BoardPage
from probe_ext.inspection.scout.board_view import Remark, board, document
from probe_ext.inspection.scout.candidate import PAIRS, REQUESTS, Candidate
from probe_ext.inspection.scout.exposure import open_pages
from probe_ext.inspection.scout.leaderboard import Row, configuration, ranked, security
from probe_ext.inspection.scout.rolling_window import ProbeResult
from probe_ext.inspection.scout.token_check import TokenCheck
from probe_ext.inspection.scout.watch import Watched
from probe_ext.settings.options import read_options
from probe_ext.target.control.call_result import Answer, Failed
from tests.in_process_sim import running_sim

SPEED = 8.0
WINDOW = 900.0


def time_of(moment: float) -> str:
    return f"{moment:.0f} s"


def looked_at(url: str) -> Row:
    watched = Watched(Candidate(url, read_options({"timeout_connect": "2s"}), seed=1), WINDOW)
    watched.probe(PAIRS, 0.0, every=1e9)
    watched.candidate.close()
    (row,) = ranked([watched.state(0.0)])
    return row


@pytest.fixture(scope="module", params=["vllm", "response-cache", "first-token"])
def look(request: pytest.FixtureRequest) -> Iterator[tuple[str, Row]]:
    # A cache is told by how much faster it answers: on a busy machine only a slow server is slower than it by far.
    speed = 1.0 if request.param == "response-cache" else SPEED
    with running_sim(request.param, speed=speed) as sim:
        yield request.param, looked_at(sim.url)


def test_each_personality_is_told_for_what_it_is(look: tuple[str, Row]) -> None:
    personality, row = look
    expected = {"vllm": [], "response-cache": ["response cache"], "first-token": ["cut answers"]}
    assert [sign.name for sign in row.state.suspicion.signs] == expected[personality]
    assert (row.rank, row.up, row.state.figures.requests, row.state.figures.error_rate) == (1, True, REQUESTS, 0)


def test_what_a_server_says_and_gives_away(look: tuple[str, Row]) -> None:
    _, row = look
    config = configuration(row.state.server)
    assert (config["kind"], config["version"], config["model"], config["block_size"]) == (
        "vllm", "0.32.0", "demo-1b", 16,
    )  # fmt: skip
    assert config["prefix_caching"] is True
    said = " ".join(security(row.state))
    assert "without a key" in said
    assert "/metrics (the configuration of the KV cache, the model's name" in said


def test_one_document_for_programs(look: tuple[str, Row]) -> None:
    _, row = look
    (server,) = json.loads(scout_output.as_json([row], time_of, WINDOW))["servers"]
    assert server["figures"]["rps"] > 0
    assert {page["path"] for page in server["open_pages"]} == {"/metrics", "/version", "/v1/models"}
    assert server["answers_without_key"] is True


def test_a_server_that_is_not_there_has_no_rank() -> None:
    row = looked_at("http://127.0.0.1:9")
    (shown,) = board([row], time_of, WINDOW)
    assert (row.rank, row.up, shown.errors) == (None, False, "100 %")
    assert {remark.kind for remark in shown.remarks} == {"outage", "error"}


class Scripted:
    """A candidate whose probes are given."""

    url = "http://server"
    server = None
    pages = ()
    with_key = True
    token_check = TokenCheck()

    def __init__(self, answered: list[int]) -> None:
        self._answered = iter(answered)
        self._t = 0.0
        self.events: list[str] = []
        self.evidence = Candidate("http://server", read_options({}), 1).evidence

    def identify(self) -> None:
        self.events.append("identify")

    def forget_evidence(self) -> None:
        self.events.append("forget")

    def probe(self, pairs: int) -> ProbeResult:
        self._t += 30.0
        answered = next(self._answered)
        self.events.append(f"probe {answered}")
        return ProbeResult(self._t, self._t + 1, 16, answered, 64 * answered, (0.1,) * answered, None)


def test_a_server_switched_off_and_on_shows_it_and_is_asked_anew_what_it_is() -> None:
    candidate = Scripted([16, 0, 0, 16])
    watched = Watched(candidate, WINDOW)  # type: ignore[arg-type]
    shown = []
    for n in range(4):
        watched.probe(1, (n + 1) * 30.0, 30.0)
        (row,) = board(ranked([watched.state((n + 1) * 30.0 + 1)]), time_of, WINDOW)
        shown.append([remark.text for remark in row.remarks])
    assert shown[0] == []
    assert shown[1] == shown[2] == ["down since 60 s"]
    assert shown[3] == [
        "was down for 60 s from 60 s: 6.7 % of the window of 15 min; its errors leave the window at 991 s"
    ]
    assert candidate.events == [
        "identify", "probe 16", "probe 0", "identify", "probe 0", "identify", "probe 16", "forget",
    ]  # fmt: skip


# --- open pages ---


class Pages:
    """A server with these pages."""

    def __init__(self, pages: dict[str, str]) -> None:
        self._pages = pages

    def get(self, url: str, timeout: float | None = None) -> Answer | Failed:
        body = self._pages.get(url.removeprefix("http://s"))
        return Failed("404", 404) if body is None else Answer(200, body.encode(), "")


@pytest.mark.parametrize(
    ("path", "body", "secret"),
    [
        ("/slots", '[{"id": 0, "id_task": 4, "prompt": "private"}]', True),
        ("/get_server_info", '{"version": "0.5", "model_path": "/m", "api_key": "sk-1"}', True),
        ("/server_info", '{"vllm_config": "…"}', True),
        ("/api/tags", '{"models": []}', True),
        ("/props", '{"default_generation_settings": {}}', False),
    ],
)
def test_delicate_pages_are_named_without_their_contents(path: str, body: str, secret: bool) -> None:
    (page,) = open_pages("http://s", Pages({path: body}))
    assert (page.path, page.secret) == (path, secret)
    assert "private" not in page.gives_away
    assert "sk-1" not in page.gives_away


@pytest.mark.parametrize("body", ["<html>Sign in</html>", '{"error": "not found"}', "[]", "{", ""])
def test_a_login_page_is_not_an_open_page(body: str) -> None:
    every = dict.fromkeys(("/metrics", "/version", "/slots", "/props", "/openapi.json", "/api/tags"), body)
    assert open_pages("http://s", Pages(every)) == ()


# --- the page ---


def answer(page: BoardPage, path: str = "/", host: str = "127.0.0.1:1", method: str = "GET", **headers: str) -> Any:
    seen: list[Any] = []
    request = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": host}
    request["QUERY_STRING"] = headers.pop("query_string", "")
    request |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    (body,) = page._answer(request, lambda status, given: seen.append((status, dict(given))))
    return int(seen[0][0][:3]), seen[0][1], body.decode()


@pytest.fixture
def page() -> Iterator[BoardPage]:
    hostile = "http://x/<script>alert(1)</script>"
    (row,) = ranked([Watched(Scripted([]), WINDOW).state(0.0)])  # type: ignore[arg-type]
    row = Row(1, type(row.state)(**{**{f: getattr(row.state, f) for f in row.state.__slots__}, "url": hostile}))
    made = BoardPage(
        0,
        lambda: {"rows": board([row], time_of, WINDOW), "caption": "c", "time": "t"},
        lambda: document([row], time_of, WINDOW),
    )
    yield made
    made.stop()


def test_the_page_refreshes_itself_without_scripts_and_escapes_what_servers_say(page: BoardPage) -> None:
    status, headers, body = answer(page)
    assert status == 200
    assert '<meta http-equiv="refresh"' in body
    assert "<script" not in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert page.url.startswith("http://127.0.0.1:")
    assert json.loads(answer(page, "/board.json")[2])["schema"] == 1
    still = answer(page, query_string="still")[2]
    assert 'http-equiv="refresh"' not in still
    assert 'href="/"' in still


@pytest.mark.parametrize(
    ("up", "kind", "state"),
    [
        (True, "error", "up"),
        (True, "cheat", "cheats?"),
        (False, "cheat", "DOWN"),
        (False, "outage", "DOWN"),
        (None, "note", ""),
    ],
)
def test_page_and_terminal_show_the_same_state(up: bool | None, kind: str, state: str) -> None:
    row = replace(board(ranked([Watched(Scripted([]), WINDOW).state(0.0)]), time_of, WINDOW)[0], up=up)  # type: ignore[arg-type]
    row = replace(row, remarks=(Remark(kind, "why"),))
    shown = BoardPage(0, lambda: {"rows": [row], "caption": "c", "time": "t"}, dict)
    body = answer(shown, "/")[2]
    shown.stop()
    assert re.search(r'<td class="text(?: bad)?">([^<]*)</td></tr>', body)[1] == state  # type: ignore[index]
    assert scout_output._state(row).plain == state


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        ({"method": "POST"}, 405),
        ({"path": "/../etc/passwd"}, 404),
        ({"host": "localhost:1"}, 200),
    ],
)
def test_other_websites_are_refused(page: BoardPage, changes: dict[str, str], status: int) -> None:
    assert answer(page, **changes)[0] == status


# --- the command line ---


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--every", "0.1s", "http://s"], "--every 0.1s: must be at least 1s"),
        (["--every", "soon", "http://s"], "--every soon: "),
        (["--every", "30s", "--window", "45s", "http://s"], "--window 45s: must be at least 2 × --every (30s)"),
        (["--port", "70000", "http://s"], "--port 70000: must be between 0 and 65535"),
        (["ftp://s"], "URL ftp://s"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["scout", *arguments]) == ExitCode.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"probe: {said}")


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["scout", "--json", "http://127.0.0.1:9"]) == ExitCode.INVALID
    (server,) = json.loads(capsys.readouterr().out)["servers"]
    assert (server["up"], server["rank"], server["configuration"]["metrics"]) == (False, None, "connection refused")


def test_a_log_has_a_line_per_probe_and_remarks_when_they_are_new() -> None:
    lines = scout_output.PlainLines()
    watched = Watched(Scripted([16, 0, 0]), WINDOW)  # type: ignore[arg-type]
    said = []
    for n in range(3):
        watched.probe(1, (n + 1) * 30.0, 30.0)
        (row,) = board(ranked([watched.state((n + 1) * 30.0 + 1)]), time_of, WINDOW)
        said.append(lines.line("now", row))
    assert "up · rank 1" in said[0]
    assert said[1].endswith("down since 60 s")
    assert "DOWN" in said[2]
    assert "since" not in said[2]
