"""axe-core finds no violations on the pages beside the report: comparison, servers, tap recording, leaderboard, doctor.

Light and dark, desktop and phone. `make test-page` installs axe-core.
"""

import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import chrome
import pytest
from test_report_browser import Visitor, visit  # noqa: F401 (a fixture)

from probe_ext import cli
from probe_ext.exit_codes import ExitCode
from probe_ext.inspection.scout.board_page import BoardPage
from probe_ext.inspection.scout.board_view import BoardRow, Remark
from probe_ext.recording.recording_files import read_recording
from probe_ext.report.outputs import servers_overview
from probe_ext.tap.shown import recording_page
from probe_ext.tap.shown.recording_view import recording_view
from probe_ext.tap.statistics.totals import Totals
from tests.in_process_sim import running_sim

ABSENT = "ACCESSIBILITY IS NOT TESTED: no Chromium here" if chrome.BROWSER is None else chrome.NO_AXE or ""
if ABSENT:
    warnings.warn(ABSENT, stacklevel=1)
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=ABSENT)

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "reports" / "examples"
looks = pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])


def check(visit: Visitor, pages: list[Path], width: int, *, dark: bool) -> None:  # noqa: F811 (a fixture)
    async def look(tab: chrome.Tab) -> None:
        for page in pages:
            await tab.open(page, width, dark=dark)
            await tab.ask("document.querySelectorAll('details').forEach(d => { d.open = true })")
            assert await tab.violations() == [], page
            assert await tab.ask("document.documentElement.scrollWidth") <= width, page

    visit(look)


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that may be compared, with prices, and two that may not."""
    folder = tmp_path_factory.mktemp("compared")
    again = shutil.copytree(EXAMPLES / "llamacpp", folder / "again")
    other, like = folder / "other", folder / "like"
    same = ["compare", str(EXAMPLES / "llamacpp"), str(again), "--price-per-hour", "1,2", "--out", str(like)]
    assert cli.main(same) == ExitCode.OK
    cli.main(["compare", str(EXAMPLES / "llamacpp"), str(EXAMPLES / "vllm"), "--out", str(other)])
    return [like / "compare.html", other / "compare.html"]


@looks
def test_comparisons(visit: Visitor, comparisons: list[Path], width: int, dark: bool) -> None:  # noqa: F811
    check(visit, comparisons, width, dark=dark)


@pytest.fixture(scope="module")
def overview(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The overview of a run over two servers, one with a gate."""
    rows = [
        servers_overview.ServerRow(
            name, f"http://{name}:8000", capacity, gates, Path("servers") / name / "capacity.html"
        )
        for name, gates in (("vllm", ["gate: at least 4 users served: met, 4 held"]), ("llamacpp", []))
        for capacity in [json.loads((EXAMPLES / name / "capacity.json").read_text(encoding="utf-8"))]
    ]
    return [servers_overview.write(tmp_path_factory.mktemp("servers"), rows)]


@looks
def test_several_servers(visit: Visitor, overview: list[Path], width: int, dark: bool) -> None:  # noqa: F811
    check(visit, overview, width, dark=dark)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The page of a recording with replies and a failure, after its end and while it goes on."""
    folder = tmp_path_factory.mktemp("tap") / "rec"
    with running_sim() as sim:
        command = [sys.executable, "-m", "probe_ext", "tap", "--upstream", sim.url, "--port", "0", "--out", str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(",")
        for turn, model in enumerate(["demo-1b"] * 4 + ["no such model"]):
            ask(f"{url}/v1/chat/completions", model, turn)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    recording, totals = read_recording(folder), Totals()
    for request in recording.requests():
        totals.add(request)
    on = folder / "on.html"
    on.write_text(recording_page.render(recording_view(recording.head, totals, in_flight=2)), encoding="utf-8")
    return [folder / recording_page.PAGE_FILE, on]


def ask(url: str, model: str, turn: int) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": f"Hi {turn}"}], "max_tokens": 3 + turn}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            reply.read()
    except urllib.error.HTTPError:
        assert model != "demo-1b"


@looks
def test_recordings(visit: Visitor, recordings: list[Path], width: int, dark: bool) -> None:  # noqa: F811
    check(visit, recordings, width, dark=dark)


@pytest.fixture(scope="module")
def leaderboard(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A board with servers in every state, and with remarks of every kind."""
    figures = ("demo-1b", "12.5", "480", "0.21 s", "0.88 s", "1.2 %")
    states = [(True, ("note",)), (True, ("cheat", "error")), (False, ("outage",)), (None, ())]
    rows = [
        BoardRow(str(n), f"http://server-{n}:8000", *figures, up, tuple(Remark(kind, f"an {kind}") for kind in kinds))
        for n, (up, kinds) in enumerate(states, 1)
    ]
    page = BoardPage(0, lambda: {"rows": rows, "caption": "rolling window of 15 min", "time": "12:00"}, dict)
    text = page._html(still=True)  # served by gevent, which this process does not run
    page.stop()
    path = tmp_path_factory.mktemp("board") / "board.html"
    path.write_text(text, encoding="utf-8")
    return [path]


@looks
def test_leaderboard(visit: Visitor, leaderboard: list[Path], width: int, dark: bool) -> None:  # noqa: F811
    check(visit, leaderboard, width, dark=dark)


@pytest.fixture(scope="module")
def examinations(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What the doctor says of a server that is well, and of one that is not."""
    folder = tmp_path_factory.mktemp("doctor")
    pages = []
    for name in ("vllm", "unstreamed,no-keep-alive"):
        pages.append(folder / f"{name}.html")
        with running_sim(name, speed=4.0) as sim:
            cli.main(["doctor", sim.url, "--html", str(pages[-1])])
    return pages


@looks
def test_examinations(visit: Visitor, examinations: list[Path], width: int, dark: bool) -> None:  # noqa: F811
    check(visit, examinations, width, dark=dark)
