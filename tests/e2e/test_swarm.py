"""The web UI, and a master with separately started workers."""

import http.server
import json
import os
import signal
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import (
    BIN,
    CAPACITY,
    PATIENCE,
    Run,
    channel,
    end,
    finished,
    free_port,
    locust,
    replies,
    start,
    start_anew,
    stopped,
    wait_for,
)
from tests.e2e.test_endings import USERS, check_accounts


def test_master_with_separate_workers(sim: str, tmp_path: Path) -> None:
    out, port = tmp_path / "run", str(free_port())
    master = start(locust(sim, out, *USERS, "--master", "--master-bind-port", port, "--expect-workers", "2"))
    locusts = [BIN / "locust", "-f", CAPACITY, "--worker", "--master-port", port, "--loglevel", "WARNING"]
    ours = [BIN / "probe", "worker", "--master-host", "127.0.0.1", "--master-port", port]
    workers = [start(list(map(str, locusts))), start_anew(list(map(str, ours)))]
    try:
        run = stopped(master, out, lambda rows: len({row["worker"] for row in rows}) == 2 and len(rows) >= 6)
        check_accounts(run, nodes=2)
        assert len({row["worker"] for row in run.rows()}) == 2
        assert {row["scenario"] for row in run.rows()} == {"capacity"}  # also if the master sent the file
        assert [worker.wait(PATIENCE) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            end(worker)


def test_ttft_and_gap_rows_stay_out_of_aggregated(sim: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = stopped(start(locust(sim, out, *USERS)), out, lambda rows: len(rows) >= 12)
    lines = {row["Type"]: int(row["Request Count"]) for row in run.rows("locust_stats.csv")}
    assert lines["LLM"] == run.locust_total == len(run.rows())
    assert 0 < lines["TTFT ≥ 10 ms"] <= lines["LLM"]
    assert 0 < lines["longest gap ≥ 10 ms"] <= lines["LLM"]


def waits_and_silences(rows: list[dict[str, str]]) -> tuple[list[float], list[float]]:
    waits = [float(row["first"]) - float(row["sent"]) for row in rows if row["first"]]
    return waits, [float(row["longest_gap"]) for row in rows if row["longest_gap"]]


def both_sides(rows: list[dict[str, str]]) -> bool:
    """Whether there are times below and above 10 ms; on a busy machine, few are below."""
    ended = [row for row in rows if row["outcome"] == "complete"]
    return all(min(times) < 0.009 and max(times) > 0.011 for times in waits_and_silences(ended) if times)


def test_times_below_ten_milliseconds_stay_out_of_locusts_rows(tmp_path: Path) -> None:
    """Locust keeps whole milliseconds. The server is fast, except for some replies that stall for 40 ms."""
    command = [BIN / "probe", "sim", "--port", "0", "--speed", "20"]
    command += ["--fault", "stall:0.3@0/0.04", "--fault", "stall:0.3@6/0.04"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        host = server.stdout.readline().rpartition(" ")[2].strip()
        out = tmp_path / "run"
        brief = ("-u", "3", "-r", "3", "--max-tokens", "12", "--input-tokens", "60")
        run = stopped(start(locust(host, out, *brief)), out, lambda rows: len(rows) >= 60 and both_sides(rows))
    finally:
        end(server)
    check_accounts(run, nodes=1)
    lines = {row["Type"]: int(row["Request Count"]) for row in run.rows("locust_stats.csv")}
    rows = [row for row in run.rows() if row["outcome"] != "ended_by_us"]
    waits, silences = waits_and_silences(rows)
    for kind, seconds in (("TTFT", waits), ("longest gap", silences)):
        surely, perhaps = (sum(1 for s in seconds if s >= 0.010 + by) for by in (2e-6, -2e-6))  # rows: microseconds
        assert 0 < surely <= lines[f"{kind} ≥ 10 ms"] <= perhaps < len(seconds)
    assert lines["LLM"] == run.locust_total == len(rows)


def test_api_key_reaches_only_the_server(tmp_path: Path) -> None:
    key = "sk-never-to-be-seen-4711"
    command = [BIN / "probe", "sim", "--port", "0", "--api-key-env", "SIM_KEY"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SIM_KEY": key})
    try:
        assert server.stdout is not None
        host = server.stdout.readline().rpartition(" ")[2].strip()
        out = tmp_path / "run"
        process = start_anew(locust(host, out, *USERS, "--processes", "2"), PROBE_API_KEY=key)
        wait_for(lambda: replies(out) > 0, "a reply")
        assert key not in Path(f"/proc/{process.pid}/cmdline").read_text()
        run = stopped(process, out, lambda rows: len(rows) >= 6)
        check_accounts(run, nodes=2)
        assert {row["status"] for row in run.rows()} == {"200"}
        assert key not in run.said
        assert not [path for path in out.iterdir() if key.encode() in path.read_bytes()]
        wrong = finished(start(locust(host, tmp_path / "wrong", *USERS, "-t", "2s"), PROBE_API_KEY=key[:-1]), out)
        assert wrong.code == 2
        assert "401" in wrong.said
        assert key[:-1] not in wrong.said
    finally:
        end(server)


class Web:
    """A client of Locust's web UI."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def swarm(self, **form: str) -> dict[str, object]:
        data = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(self.url + "/swarm", data, timeout=PATIENCE) as answer:
            return dict(json.load(answer))

    def stop(self) -> None:
        with urllib.request.urlopen(self.url + "/stop", b"", timeout=PATIENCE) as answer:
            assert json.load(answer)["success"]

    def users(self) -> int:
        return int(json.loads(self.get("/stats/requests"))["user_count"])


@pytest.fixture
def web(sim: str, tmp_path: Path) -> Iterator[Web]:
    port = str(free_port())
    command = [BIN / "locust", "-f", CAPACITY, "--host", sim, "--web-port", port, "--web-host", "127.0.0.1"]
    command += ["--out", tmp_path / "ui", "--no-report", "--loglevel", "WARNING", "--processes", "2", *channel()]
    process = start([str(part) for part in command])
    ui = Web(f"http://127.0.0.1:{port}")
    try:
        wait_for(lambda: _answers(ui), "the web UI")
        yield ui
    finally:
        process.send_signal(signal.SIGINT)
        finished(process, tmp_path)


def _answers(ui: Web) -> bool:
    try:
        return bool(ui.get("/"))
    except OSError:
        return False


def exported(web: Web) -> int:
    """Return the number of replies in our metrics."""
    counts = [line for line in web.get("/probe/metrics").splitlines() if line.startswith("probe_replies_total{")]
    return int(sum(float(line.split()[-1]) for line in counts))


def test_web_ui_ramps_by_hand_and_separates_runs(web: Web, tmp_path: Path) -> None:
    wait_for(lambda: len(json.loads(web.get("/stats/requests"))["workers"]) == 2, "both workers")
    page = web.get("/")
    assert '"input_tokens"' in page  # the form has our options
    assert "PROBE_API_KEY" not in page
    for n in ("2", "4"):
        assert web.swarm(user_count=n, spawn_rate="4")["success"]
        wait_for(lambda n=n: web.users() == int(n), f"{n} users")
        wait_for(lambda n=n: replies(tmp_path / "ui") >= 3 * int(n), "replies")
    web.stop()
    first = Run(tmp_path / "ui", 0, "")
    check_accounts(first, nodes=2)
    assert exported(web) == len(first.rows())
    assert first.manifest["end_reason"] == "stopped"
    assert {"2", "4"} <= {row["users"] for row in first.rows("users.csv")}

    assert "--host" in str(web.swarm(host="", user_count="1", spawn_rate="1")["message"])
    assert "--input-tokens 5000" in str(web.swarm(input_tokens="5000", user_count="1", spawn_rate="1")["message"])
    nowhere = web.swarm(host="http://127.0.0.1:9", user_count="1", spawn_rate="1")
    assert not nowhere["success"]
    assert "127.0.0.1:9" in str(nowhere["message"])
    refused = web.swarm(levels="0,-3,x", user_count="1", spawn_rate="1")
    assert not refused["success"]
    assert "--levels 0,-3,x" in str(refused["message"])
    mixed = web.swarm(levels="1,2", search="true", user_count="1", spawn_rate="1")
    assert "--search" in str(mixed["message"])
    assert web.swarm(levels="1,2", hold="2s", settle="1s", min_replies="1")["success"]
    second = tmp_path / "ui-2"
    wait_for(lambda: (second / "run.json").exists() and '"ended_at": "' in (second / "run.json").read_text(), "levels")
    check_accounts(Run(second, 0, ""), nodes=2)
    assert Run(second, 0, "").manifest["end_reason"] == "levels_done"
    assert web.swarm(levels="", search="true", search_time="2s", hold="2s", settle="0s", min_replies="1")["success"]
    third = tmp_path / "ui-3"
    wait_for(lambda: (third / "run.json").exists() and '"ended_at": "' in (third / "run.json").read_text(), "a search")
    assert Run(third, 0, "").manifest["end_reason"] == "search_done"
    unlisted = web.swarm(model="nobody", levels="1", search="false", input_tokens="50")
    assert not unlisted["success"]
    assert "--model nobody" in str(unlisted["message"])
    wait_for(lambda: web.users() == 0, "no users")


@pytest.mark.parametrize(
    "workers", [("--processes", "2"), pytest.param((), marks=pytest.mark.long)], ids=["two workers", "alone"]
)
def test_stop_during_warm_up_cancels_the_run(tmp_path: Path, workers: tuple[str, ...]) -> None:
    """Without our handling, Locust's Stop does nothing on a master without users, and the run begins."""
    slow = start([str(BIN / "probe"), "sim", "--profile", "demo", "--port", "0", "--speed", "0.1"])
    assert slow.stdout is not None
    host, port, out = slow.stdout.readline().rpartition(" ")[2].strip(), str(free_port()), tmp_path / "ui"
    command = [str(BIN / "locust"), "-f", str(CAPACITY), "--host", host, "--web-port", port, "--web-host", "127.0.0.1"]
    command += ["--out", str(out), "--no-report", "--loglevel", "WARNING", *workers, *(channel() if workers else [])]
    process, ui = start(command), Web(f"http://127.0.0.1:{port}")
    levels = {"levels": "1,2", "hold": "1s", "settle": "0s", "min_replies": "1", "max_tokens": "4"}
    live = lambda: json.loads(ui.get("/probe/live.json"))  # noqa: E731
    try:
        wait_for(lambda: _answers(ui), "the web UI")
        if workers:
            wait_for(lambda: len(json.loads(ui.get("/stats/requests"))["workers"]) == 2, "both workers")
        assert ui.swarm(**levels, warm_up="64")["success"]
        wait_for(lambda: "warming" in str(live()["doing"]), "the warm-up")
        ui.stop()
        assert (live()["state"], live()["doing"]) == ("idle", "stopped before it began")
        assert ui.swarm(**levels, warm_up="off")["success"]  # the next run is the first to begin
        wait_for(lambda: [one["state"] for one in live()["runs"]] == ["ended"], "the levels")
        run = Run(out, 0, "")
        assert (run.manifest["end_reason"], run.manifest["warm_up"]) == ("levels_done", None)
        check_accounts(run, nodes=2 if workers else 1, least=2)
    finally:
        process.send_signal(signal.SIGINT)
        finished(process, tmp_path)
        end(slow)


class Metrics(http.server.BaseHTTPRequestHandler):
    """A metrics endpoint that counts its clients."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        page = b'vllm:num_requests_running{engine="0",model_name="m"} 1.0\n'
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def polled(run: Run) -> set[str]:
    return {row["t"] for row in run.rows("server.csv")} if (run.directory / "server.csv").exists() else set()


def test_only_the_master_reads_server_metrics(sim: str, tmp_path: Path) -> None:
    page = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    try:
        out, url = tmp_path / "run", f"http://127.0.0.1:{page.server_port}/metrics"
        asking = locust(sim, out, *USERS, "--processes", "2", "--metrics-url", url)
        run = stopped(start(asking), out, lambda rows: len(rows) >= 6 and len(polled(Run(out, 0, ""))) >= 4)
    finally:
        page.shutdown()
        page.server_close()
    polls = len(polled(run))
    assert polls >= 4
    # The server was identified before the run; two polling workers would triple the number.
    assert polls <= Metrics.asked < 2 * polls


def test_waiting_master_outlives_a_worker_and_gives_up_with_a_message(sim: str, tmp_path: Path) -> None:
    """Locust's own master stops with its last worker, and waits for lost ones."""
    port = str(free_port())
    command = [str(BIN / "probe"), "run", "capacity", "--host", sim, "--out", str(tmp_path / "run"), *USERS]
    command += ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", "2"]
    command += ["--warm-up", "off", "--no-report"]
    join = [str(BIN / "probe"), "worker", "--master-host", "127.0.0.1", "--master-port", port]
    master, workers = start(command), [start(join)]
    try:
        assert master.stdout is not None
        assert workers[0].stdout is not None
        assert any("joined the master" in line for line in workers[0].stdout)  # reads up to that line
        workers[0].send_signal(signal.SIGINT)
        workers[0].wait(PATIENCE)
        workers += [start(join), start(join)]
        run = stopped(master, tmp_path / "run", lambda rows: len(rows) >= 6)
        check_accounts(run, nodes=2)
        alone = finished(start([*command, "--force", "--expect-workers-max-wait", "5"]), tmp_path / "run")
        assert alone.code == 2
        said = alone.said.splitlines()
        assert any("0 of 2 workers connected; start one with probe worker --master-host" in line for line in said)
        assert said[-1] == "probe: no run: 0 of 2 workers connected after 5 s"
    finally:
        for worker in workers:
            end(worker)
        end(master)
