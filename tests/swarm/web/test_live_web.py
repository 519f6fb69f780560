"""Routes of the live page: login, base path, served files and cross-origin rules."""

import json
import re
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin

import pytest
from live_ui import HOSTILE, Ui

from probe_ext.page.environment import base_style
from probe_ext.run import directory as places
from probe_ext.swarm.web.live_page_routes import FILES, address

OURS = ("/probe/", "/probe/live.js", "/probe/live.css", "/probe/live.json", "/probe/runs/1/run.json",
        "/probe/runs/newest/run.json")  # fmt: skip
PAGE = resources.files("probe_ext.swarm.web") / "live_page"


def text_of(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def figures(ui: Ui, span: str = "recent") -> dict[str, Any]:
    return dict(ui.client.get(f"/probe/live.json?span={span}").get_json())


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Ui:
    """For tests that change nothing: secrets beside and in the run directory, and a hostile model name."""
    place = tmp_path_factory.mktemp("asked")
    ui = Ui()
    directory = ui.begin(place / "run", model="only-for-us").directory
    for folder in (place, directory):
        for name in ("secret.txt", "run.json", "requests-w1.csv"):
            (folder / name).write_text("secret")
    return ui


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Ui:
    """As above: all files of the run exist."""
    ui = Ui()
    directory = ui.begin(tmp_path_factory.mktemp("filled") / "run").directory
    for name in FILES:
        (directory / name).write_text("x")
    return ui


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "http://0.0.0.0:8089/probe/"),
        ({"web_host": "*", "web_base_path": "/load/"}, "http://0.0.0.0:8089/load/probe/"),
        ({"web_host": "10.0.0.5", "tls_cert": "c", "tls_key": "k"}, "https://10.0.0.5:8089/probe/"),
        ({"web_host_display_name": "https://load.example/x"}, "https://load.example/x/probe/"),
    ],
)
def test_address_follows_locusts(given: dict[str, str], shown: str) -> None:
    usual = {"web_host": "", "web_port": 8089, "web_base_path": "", "web_host_display_name": None}
    assert address(SimpleNamespace(**{**usual, "tls_cert": "", "tls_key": "", **given})) == shown


@pytest.mark.parametrize("base", ["", "/load"])
def test_all_pages_are_below_login_and_base_path(base: str, tmp_path: Path) -> None:
    ui = Ui(base, login=True)
    (ui.begin(tmp_path / "run").directory / "run.json").write_text("{}")
    for path in OURS:
        answer = ui.client.get(base + path)
        assert answer.status_code == 302, path
        assert answer.location.startswith(f"{base}/login"), path
    ui.log_in()
    for path in OURS:
        answer = ui.client.get(base + path)
        if "newest" in path:
            answer = ui.client.get(urljoin(base + path, answer.location))
        assert answer.status_code == 200, path
    assert ui.client.get("/elsewhere/probe/").status_code == 404


def test_only_get_is_answered(tmp_path: Path) -> None:
    ui = Ui()
    ui.begin(tmp_path / "run")
    for path in OURS:
        for method in ("post", "put", "delete", "patch"):
            assert getattr(ui.client, method)(path).status_code == 405, (method, path)


def test_pages_link_to_each_other(tmp_path: Path) -> None:
    ui = Ui("/load")
    page = ui.client.get("/load/").get_data(as_text=True)
    assert '<a href="./probe/"' in page
    given = json.loads(re.search(r"window\.templateArgs = (.*)", page)[1])  # type: ignore[index]
    assert [tab["key"] for tab in given["extended_tabs"]] == [table["key"] for table in given["extended_tables"]]
    links = [link["href"] for link in given["extended_csv_files"]]
    ui.begin(tmp_path / "run")
    assert len(links) == 7
    for link in links:
        assert ui.client.get("/load/" + link.removeprefix("./")).status_code in {200, 302}, link
    assert 'href="../"' in text_of("live.html")


def test_keeps_a_locustfiles_tabs(tmp_path: Path) -> None:
    ui = Ui()
    ui.begin(tmp_path / "run")
    web: Any = ui.environment.web_ui

    @web.app.after_request
    def theirs(response: Any) -> Any:
        if response.is_json and "stats" in response.get_json():
            response.set_data(json.dumps({**response.get_json(), "extended_stats": [{"key": "theirs", "data": []}]}))
        return response

    for _ in range(2):  # Locust caches the answer
        told = ui.client.get("/stats/requests").get_json()["extended_stats"]
        assert [table["key"] for table in told] == ["theirs", "levels", "streaming"]


def test_tabs_show_levels_and_streaming_figures(tmp_path: Path) -> None:
    ui = Ui()
    ui.begin(tmp_path / "run")
    told = {table["key"]: table["data"] for table in ui.client.get("/stats/requests").get_json()["extended_stats"]}
    assert [row["people"] for row in told["levels"]] == [8, 4]
    assert told["levels"][0]["state"].startswith("so far: ")
    assert told["levels"][1]["state"] == "not proven"
    line, total = told["streaming"]
    assert (line["name"], line["requests"]) == ("demo", figures(ui)["now"]["replies"])
    assert 190 <= line["median"] <= 2500
    assert total == {**line, "type": "", "name": "Σ Aggregated", "whole": 0, "wholehigh": 0, "rps": 0}
    structures = {table["key"]: table["structure"] for table in ui.environment.web_ui.template_args["extended_tables"]}
    for key, rows in told.items():
        assert {column["key"] for column in structures[key]} == set(rows[0])


def test_table_combines_locusts_figures_with_ours(tmp_path: Path) -> None:
    ui = Ui()
    ui.begin(tmp_path / "run")
    stats = ui.environment.stats
    for method, name, milliseconds in (("LLM", "demo", 2000), ("TTFT ≥ 10 ms", "demo", 300), ("GET", "/health", 7)):
        for _ in range(3):
            stats.get(name, method).log(milliseconds, 0)
    stats.total.log(2000, 0)
    [_, table] = ui.client.get("/stats/requests").get_json()["extended_stats"]
    rows = {(row["type"], row["name"]): row for row in table["data"]}
    assert list(rows) == [("LLM", "demo"), ("GET", "/health"), ("", "Σ Aggregated")]
    assert (rows["LLM", "demo"]["whole"], rows["LLM", "demo"]["requests"]) == (2000, figures(ui)["now"]["replies"])
    assert isinstance(rows["LLM", "demo"]["rps"], float | int)
    health = rows["GET", "/health"]
    assert (health["requests"], health["whole"], health["median"], health["typing"]) == (3, 7, "–", "–")
    assert rows["", "Σ Aggregated"]["high"] == rows["LLM", "demo"]["high"]


def test_says_that_there_is_no_run_yet() -> None:
    ui = Ui()
    told = figures(ui)
    assert (told["state"], told["run"], told["now"], told["runs"]) == ("idle", None, None, [])
    assert told["said"]["headline"] == "No run yet."
    assert ui.client.get("/probe/runs/newest/run.json").status_code == 404
    ui.view.preparing("warming the server up")
    assert figures(ui)["state"] == "preparing"
    ui.view.preparing(None)
    ui.view.refused("--model x: the server lists y")
    assert figures(ui)["said"]["below"] == "--model x: the server lists y"


def test_history_of_the_whole_run_and_the_last_minutes(tmp_path: Path) -> None:
    ui = Ui()
    ui.begin(tmp_path / "run", seconds=320)
    recent, whole = figures(ui)["history"], figures(ui, "whole")["history"]
    assert (len(recent["t"]), len(whole["t"])) == (300, 320)
    assert set(recent) == set(whole)


def test_states_from_preparation_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ui = Ui()
    first = ui.begin(tmp_path / "one")
    assert [(run["number"], run["state"], run["report"]) for run in figures(ui)["runs"]] == [(1, "running", "none")]
    first.end_reason = "stopped"
    assert figures(ui)["state"] == "ending"
    first.ended = 60.0
    ui.view.ended()
    assert (figures(ui)["state"], figures(ui)["said"]["headline"]) == ("ended", "The run is over.")
    missing = ui.client.get("/probe/runs/1/capacity.html")
    assert (missing.status_code, missing.mimetype) == (404, "text/html")

    def report(directory: Path, _: object) -> int:
        assert figures(ui)["runs"][0]["report"] == "making"
        (directory / "capacity.html").write_text("<p>the report</p>")
        clause = {"before": "About", "number": "6", "after": "people can use this at once", "interval": "5 to 7"}
        answer = {"invalid": "", "caveats": [], **clause, "rest": "Typing speed is the first limit."}
        said = {"answer": answer, "verdict": "valid", "bracket": [5, 8], "rate_bracket": [None, None]}
        (directory / "capacity.json").write_text(json.dumps(said))
        return 0

    monkeypatch.setattr("probe_ext.swarm.web.run_display.make_report", report)
    ui.view.report(first.directory)
    told = figures(ui)
    assert told["said"] == {"number": "About 6", "tone": "good", "below": "Typing speed is the first limit.",
                            "headline": " people can use this at once (95 %: 5 to 7)."}  # fmt: skip
    assert (told["runs"][0]["report"], told["runs"][0]["directory"]) == ("ready", str(tmp_path / "one"))
    ui.begin(tmp_path / "two")
    assert [(run["number"], run["state"]) for run in figures(ui)["runs"]] == [(2, "running"), (1, "ended")]
    answer = ui.client.get("/probe/runs/1/capacity.html")
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "<p>the report</p>")
    assert ui.client.get("/probe/runs/newest/capacity.html").location == "../2/capacity.html"


def test_shows_a_failed_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ui = Ui()
    run = ui.begin(tmp_path / "run")
    run.ended = 60.0
    ui.view.ended()
    monkeypatch.setattr("probe_ext.swarm.web.run_display.make_report", lambda *_: 2)
    ui.view.report(run.directory)
    assert figures(ui)["runs"][0]["report"] == "failed"
    assert figures(ui)["said"]["below"] == "The report could not be made."


# --- who may have what ---


@pytest.mark.parametrize(
    "path",
    ["runs/2/run.json", "runs/0/run.json", "runs/-1/run.json", "runs/1/secret.txt", "runs/1/requests-w1.csv",
     "runs/1/../secret.txt", "runs/1/..%2fsecret.txt", "runs/1/%2e%2e%2fsecret.txt", "runs/1/run.json%00", "live.html",
     "runs/../../secret.txt", "..%2fsecret.txt", "runs/newest/secret.txt", "runs/1//etc/passwd"],
)  # fmt: skip
def test_serves_only_known_files_of_its_runs(path: str, asked: Ui) -> None:
    answer = asked.client.get("/probe/" + path)
    assert answer.status_code in {308, 404}
    assert b"secret" not in answer.data or answer.status_code == 308


def test_does_not_follow_symbolic_links(tmp_path: Path) -> None:
    ui = Ui()
    directory = ui.begin(tmp_path / "run").directory
    (tmp_path / "secret.txt").write_text("secret")
    (directory / "run.json").symlink_to(tmp_path / "secret.txt")
    assert ui.client.get("/probe/runs/1/run.json").status_code == 404


@pytest.mark.parametrize("name", FILES)
def test_files_have_their_content_types(name: str, filled: Ui) -> None:
    answer = filled.client.get(f"/probe/runs/1/{name}")
    assert (answer.status_code, answer.mimetype) == (200, FILES[name])
    shown = name in {places.CAPACITY_HTML, places.SUMMARY}
    assert answer.headers["Content-Disposition"].startswith("inline" if shown else "attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_forbids_framing_and_inline_scripts(tmp_path: Path) -> None:
    ui = Ui()
    (ui.begin(tmp_path / "run").directory / "capacity.html").write_text("<script>1</script>")
    for path in (*OURS, "/probe/runs/1/capacity.html", "/probe/nothing"):
        answer = ui.client.get(path)
        assert answer.headers["X-Frame-Options"] == "DENY" or answer.status_code == 404, path
        assert "frame-ancestors 'none'" in answer.headers.get("Content-Security-Policy", "frame-ancestors 'none'"), path
    policy = ui.client.get("/probe/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = text_of("live.html")
    assert re.findall(r"<script[^>]*>", page) == ['<script src="live.js" defer>']
    assert not re.search(r"\son\w+=|<style|\sstyle=", page)
    # A report contains text from the server: its page gets an origin of its own, without the UI's login.
    sandbox = ui.client.get("/probe/runs/1/capacity.html").headers["Content-Security-Policy"]
    assert "sandbox" in sandbox
    assert "allow-same-origin" not in sandbox


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, 403),
    ],
)
def test_refuses_cross_origin_requests(headers: dict[str, str], status: int, asked: Ui) -> None:
    answer = asked.client.get("/probe/live.json", headers=headers)
    assert answer.status_code == status
    assert (b"only-for-us" in answer.data) == (status == 200)


def test_escapes_text_from_the_server(tmp_path: Path) -> None:
    ui = Ui()
    ui.begin(tmp_path / "run", model=HOSTILE)
    answer = ui.client.get("/probe/live.json")
    assert answer.mimetype == "application/json"
    assert answer.get_json()["run"]["model"] == HOSTILE
    script = text_of("live.js")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
        assert way not in script, way
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", script + text_of("live.css") + text_of("live.html"))


def test_shows_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_API_KEY", "sk-never-told")
    ui = Ui()
    ui.begin(tmp_path / "run")
    for path in (*OURS[:4], "/", "/stats/requests"):
        assert b"sk-never-told" not in ui.client.get(path).data


def test_page_has_the_reports_colours() -> None:
    assert base_style().startswith(":root{--bg:")
    assert Ui().client.get("/probe/live.css").data.decode().startswith(base_style())


def test_shows_each_process(tmp_path: Path) -> None:
    ui = Ui()
    run = ui.begin(tmp_path / "run")
    (lone,) = figures(ui)["workers"]
    assert (lone["id"], lone["state"], lone["in_flight"]) == ("w1", "ready", 2)
    for worker in ("w2", "w3", "w4"):
        run.workers.join(worker)
    run.workers.known["w2"].absences.disconnect()
    run.collector.reported["w3"] = {"rows": 3, "started": 3, "finished": 3}
    run.workers.join("w5")
    run.collector.reported["w2"] = {"rows": 1, "started": 4, "finished": 1}
    w1 = SimpleNamespace(state="running", user_count=5, cpu_usage=77)
    w5 = SimpleNamespace(state="running", user_count=1, cpu_usage=55)
    run.environment = SimpleNamespace(runner=SimpleNamespace(clients={"w1": w1, "w5": w5}, state="running"))
    told = {worker["id"]: worker for worker in figures(ui)["workers"]}
    states = {name: worker["state"] for name, worker in told.items()}
    assert states == {"w1": "running", "w2": "lost", "w3": "gone", "w5": "running", "master": "running"}
    assert (told["w1"]["users"], told["w1"]["in_flight"], told["w1"]["clock_error"]) == (5, 2, 0.0)
    assert told["w1"]["cpu"] == pytest.approx(0.2)
    assert told["w1"]["receive_lag_max"] == pytest.approx(0.0001)
    assert (told["w2"]["in_flight"], told["w2"]["cpu"], told["w3"]["in_flight"]) == (None, None, 0)
    assert told["w5"]["cpu"] == pytest.approx(0.55)  # none of its replies has ended yet
    assert {*told["master"]} == {*told["w1"]}
