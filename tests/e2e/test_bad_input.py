"""Errors are one line that names the problem, with the right exit code, and lose no measured data."""

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from probe_ext.cli import COMMANDS, main
from probe_ext.settings.secrets import API_KEY_VARIABLE
from tests.conftest import BuildOnce
from tests.e2e import loaded
from tests.e2e.conftest import BIN, PATIENCE, ROOT, Run, end, finished, free_port, locust, replies, start, wait_for
from tests.e2e.test_endings import check_accounts

SHORT = (
    *("--levels", "2", "--hold", "2s", "--settle", "0s", "--min-replies", "1"),
    *("--max-tokens", "16", "--warm-up", "off"),
)


def keyless() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}


def probe(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [str(BIN / "probe"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=keyless())


def probe_report(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run `probe report` in this process, which has loaded pandas."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        try:
            code = main(["report", *map(str, arguments)])
        except SystemExit as left:
            code = left.code
    return subprocess.CompletedProcess(["probe", "report"], int(code or 0), output.getvalue(), errors.getvalue())


def probe_run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run `probe run`, forked."""
    return loaded.ask(["probe", "run", *map(str, arguments)], keyless())


def check_refused(result: "subprocess.CompletedProcess[str]", *named: object) -> None:
    """Check for exit code 2, an empty stdout, and one line on stderr that names the problem."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    waited = r"before the run, \d\d:\d\d  querying the server"  # printed by a run that has to wait on a busy machine
    lines = [line for line in result.stderr.splitlines() if not re.fullmatch(waited, line)]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("probe")
    for word in named:
        assert str(word) in result.stderr


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Start a simulated server; its URL and process."""
    command = [str(BIN / "probe"), "sim", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    try:
        assert process.stdout is not None
        yield process.stdout.readline().rpartition(" ")[2].strip(), process
    finally:
        end(process)


@pytest.fixture
def dead_host() -> Iterator[str]:
    """A URL that refuses connections. Its port stays bound, so no other process can start to listen there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def tls_only() -> Iterator[str]:
    """An http:// URL of a TLS port, which answers plain HTTP with an alert."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46")

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def good(sim: str, build_once: BuildOnce) -> Path:
    """A short run with its report; tests must not change it."""

    def make(place: Path) -> None:
        result = probe_run("capacity", "--host", sim, "--out", place / "run", *SHORT)
        assert result.returncode == 0, result.stderr
        assert "probe: 1 level (2 users), 0 s settle + 2 s hold: at least 2 s, longer" in result.stderr
        assert len(Run(place / "run", 0, "").rows()) >= 4

    return build_once("short-run", make) / "run"


@pytest.fixture
def run(good: Path, tmp_path: Path) -> Path:
    """A copy of a run, to be damaged."""
    return Path(shutil.copytree(good, tmp_path / "run"))


def test_the_refusal_check_can_fail(good: Path) -> None:
    with pytest.raises(AssertionError):
        check_refused(probe_report(good))


@pytest.mark.parametrize("more", [(), ("--model", "m")], ids=["model asked for", "model given"])
def test_connection_refused(tmp_path: Path, dead_host: str, more: tuple[str, ...]) -> None:
    out = tmp_path / "run"
    refused = probe_run("capacity", "--host", dead_host, "--out", out, *more)
    check_refused(refused, "--host", dead_host, "refused")
    assert not out.exists()


def test_unknown_host_name() -> None:
    host = "http://no-such-host.invalid:8000"
    check_refused(probe_run("capacity", "--host", host), "--host", host, "unknown host name")


def test_https_to_a_plain_http_port(sim: str) -> None:
    host = sim.replace("http://", "https://")
    check_refused(probe_run("capacity", "--host", host, "--model", "demo-1b"), "--host", host, "try http://")


def test_http_to_a_tls_port(tls_only: str) -> None:
    https = tls_only.replace("http://", "https://")
    check_refused(probe_run("capacity", "--host", tls_only), "--host", tls_only, f"try {https}")


def test_missing_host_and_host_with_a_password() -> None:
    plain = ("-f", str(ROOT / "locustfiles" / "capacity.py"), "--headless", "--only-summary", "--loglevel", "WARNING")
    check_refused(loaded.ask(["locust", *plain], keyless()), "--host: missing")  # `probe run` would look for a server
    result = probe_run("capacity", "--host", "http://me:hush@127.0.0.1:8000")
    check_refused(result, "--host")
    assert "hush" not in result.stderr


def test_a_model_that_vllm_does_not_list_ends_the_run_before_it_starts(sim: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused = probe_run("capacity", "--host", sim, "--model", "gpt-9", "--out", out)
    check_refused(refused, "--model gpt-9", sim, "it lists demo-1b")
    assert not out.exists()


def test_web_server_that_is_not_an_llm_server(tmp_path: Path) -> None:
    """The message names the requested path and likely causes before --model."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            refused = probe_run("capacity", "--host", url)
        finally:
            server.shutdown()
    check_refused(refused, url, "/v1/models: 404", "not an OpenAI-compatible server", "port or path prefix", "--model")
    assert refused.stderr.index("OpenAI-compatible") < refused.stderr.index("--model")


def test_missing_api_key() -> None:
    with serving("--port", "0", "--api-key-env", "SIM_KEY", SIM_KEY="sk-xyz") as (host, _):
        for more in ((), ("--model", "demo-1b")):
            check_refused(probe_run("capacity", "--host", host, *more), "--host", host, "401", API_KEY_VARIABLE)


def test_prompt_longer_than_the_context(sim: str) -> None:
    result = probe_run("capacity", "--host", sim, "--input-tokens", "5000")
    check_refused(result, "--input-tokens 5000", "--max-tokens 128", "2048", "demo-1b")


def test_misspelt_profile_key_is_refused_before_any_load(sim: str, tmp_path: Path, run: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("typing:\n  served: 10\n  strained: 5\n  min_tokns: 8\n")
    out = tmp_path / "new"
    check_refused(probe_run("capacity", "--host", sim, "--slo", profile, "--out", out), profile, "typing.min_tokns")
    assert not out.exists()
    check_refused(probe_run("capacity", "--host", sim, "--slo", "chatt"), "--slo chatt", "did you mean chat?")
    check_refused(probe_report(run, "--slo", profile), profile, "typing.min_tokns")


@pytest.mark.parametrize("levels", ["0,-3,x", "1,2,x", "2,2", ",", "1e3"])
def test_invalid_levels(levels: str) -> None:
    check_refused(probe_run("capacity", "--host", "http://127.0.0.1:9", "--levels", levels), f"--levels {levels}")


@pytest.mark.parametrize("driven", [("-u", "3"), ("-r", "2"), ("-t", "9s")], ids=["-u", "-r", "-t"])
def test_levels_with_users_rate_or_time(sim: str, driven: tuple[str, str]) -> None:
    check_refused(probe_run("capacity", "--host", sim, "--levels", "1,2", *driven), driven[0], "--levels")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("run", "capacity", "--host", "SIM", "--hodl", "3s"), ("--hodl 3s", "--hold")),
        (("run", "capacity", "--host", "SIM", "--processes", "two"), ("--processes", "two")),
        (("run", "capacity", "--host", "SIM", "--hold", "soon"), ("--hold soon",)),
        (("run", "capacity", "--host", "SIM", "--hold"), ("--hold",)),
        (("run", "capcity", "--host", "SIM"), ("capcity", "capacity")),
        (("run", "gone.py", "--host", "SIM"), ("gone.py",)),
        (("ui", "capcity"), ("capcity", "capacity")),
        (("ui", "http://x"), ("http://x", "--host http://x")),
        ((), tuple(COMMANDS)),
        (("rnu",), ("rnu", "run")),
        (("list", "--all"), ("--all",)),
        (("report", "nowhere"), ("nowhere", "run.json")),
        (("report",), ("RUN",)),
        (("sim", "--profile", "h900"), ("h900",)),
    ],
    ids=" ".join,
)
def test_unknown_arguments(sim: str, arguments: tuple[str, ...], named: tuple[str, ...]) -> None:
    words = [sim if word == "SIM" else word for word in arguments]
    programs = {"run": probe_run, "report": probe_report}
    check_refused(programs[words[0]](*words[1:]) if words and words[0] in programs else probe(*words), *named)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("x = 1\n", "StreamingUser"),
        ("from locust import HttpUser\n\nclass Plain(HttpUser):\n    pass\n", "StreamingUser"),
        ("import os\n\ndef (\n", ":3: SyntaxError"),
        ("\nimport no_such_module\n", ":2: ModuleNotFoundError"),
    ],
    ids=["no users", "none of ours", "no Python", "an import that fails"],
)
def test_invalid_locustfile(sim: str, tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    check_refused(probe_run(file, "--host", sim, "--out", tmp_path / "run"), file, named)
    assert not (tmp_path / "run").exists()


def test_unwritable_output_directory(sim: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "run", tmp_path / "file", Path("/proc/probe/run")):
        check_refused(probe_run("capacity", "--host", sim, "--out", out), f"--out {out}")
    assert (tmp_path / "file").read_text() == "mine"


def test_replaces_a_run_only_with_force(sim: str, dead_host: str, run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    check_refused(probe_run("capacity", "--host", sim, "--out", run), f"--out {run}", "--force")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    check_refused(probe_run("capacity", "--host", dead_host, "--out", run, "--force"), f"--host {dead_host}")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before  # nothing replaced it
    (run / "notes.txt").write_text("mine")
    result = probe_run("capacity", "--host", sim, "--out", run, "--force", *SHORT)
    assert result.returncode == 0, result.stderr
    assert (run / "run.json").read_bytes() != before["run.json"]
    assert (run / "notes.txt").read_text() == "mine"
    check_accounts(Run(run, 0, result.stdout), nodes=1, least=4)


def test_refused_run_ends_its_workers(dead_host: str) -> None:
    process = start([str(BIN / "probe"), "run", "capacity", "--host", dead_host, "--processes", "2"])
    said, _ = process.communicate(timeout=PATIENCE)
    (line,) = said.splitlines()
    assert process.returncode == 2
    assert line.startswith(f"probe: --host {dead_host}: connection refused; "), "what else runs here"
    wait_for(lambda: not alive(process.pid), "the workers to go")


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_before_the_run_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, and never answers
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = start([str(BIN / "probe"), "run", "capacity", "--host", host])
        silent.accept()
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said.splitlines()) == (130, ["probe: interrupted before the run began"])


def test_run_stopped_before_any_reply_ends_in_order(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with serving("--port", "0", "--fault", "stall@0") as (host, _):
        command = [BIN / "probe", "run", "capacity", "--host", host, "-u", "2", "-r", "2", "--out", out]
        process = start([str(part) for part in (*command, "--drain", "0s", "--warm-up", "off")])
        wait_for(lambda: (out / "users.csv").exists() and ",2,2," in (out / "users.csv").read_text(), "two users")
        process.send_signal(signal.SIGINT)
        run = finished(process, out)
    assert run.code == 130
    assert "Traceback" not in run.said
    assert [row["outcome"] for row in run.rows()] == ["ended_by_us"] * 2
    assert run.manifest["end_reason"] == "interrupted"
    verdict = json.loads((out / "capacity.json").read_text())
    assert (verdict["verdict"], verdict["served_users"]) == ("unproven", None)
    assert "No answer" in (out / "summary.md").read_text()


def test_truncated_table_is_judged_but_invalid(run: Path) -> None:
    whole = judged_replies(run)
    assert whole >= 4
    table = run / "requests.csv"
    table.write_bytes(table.read_bytes()[:-40])
    result = probe_report(run)
    assert (result.returncode, result.stderr) == (3, "")
    judged = json.loads((run / "capacity.json").read_text())
    assert judged["verdict"] == "invalid"
    assert whole - 1 <= judged_replies(run) <= whole
    told = {finding["check"]: finding["why"] for finding in judged["findings"] if finding["state"] == "fail"}
    assert "requests.csv" in told["files"]
    assert "1 row" in told["accounted"]


def judged_replies(run: Path) -> int:
    judged = json.loads((run / "capacity.json").read_text())
    return sum(level["replies"] for level in judged["levels"])


def test_truncated_manifest_is_one_line(run: Path) -> None:
    (run / "run.json").write_bytes((run / "run.json").read_bytes()[:200])
    check_refused(probe_report(run), run / "run.json")


def test_killed_run_is_reported_from_its_files(sim: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(locust(sim, out, "-u", "4", "-r", "4", "--max-tokens", "16"))
    wait_for(lambda: replies(out) >= 6, "replies before the kill")
    process.kill()
    finished(process, out)
    kept = len(Run(out, 0, "").rows())
    result = probe_report(out)
    assert (result.returncode, result.stderr) == (0, "")
    judged = json.loads((out / "capacity.json").read_text())
    assert judged["verdict"] == "unproven"
    assert kept >= 6
    assert "killed" in next(finding["why"] for finding in judged["findings"] if finding["check"] == "ended")


def test_server_restart_loses_no_rows(tmp_path: Path) -> None:
    out, port = tmp_path / "run", str(free_port())
    with serving("--port", port, "--speed", "4") as (host, server):
        process = start(locust(host, out, "-u", "4", "-r", "4", "--max-tokens", "60"))
        wait_for(lambda: outcomes(out)["complete"] >= 4, "replies before the server dies")
        server.kill()
        wait_for(lambda: outcomes(out)["connect_failed"] >= 4, "replies that find no server")
    with serving("--port", port, "--speed", "4"):
        before = outcomes(out)["complete"]
        wait_for(lambda: outcomes(out)["complete"] >= before + 4, "replies of the server that came back")
        wait_for(lambda: back_since(out), "metrics of the server that came back")
        process.send_signal(signal.SIGINT)
        run = finished(process, out)
    check_accounts(run, nodes=1)
    assert run.code == 130
    assert "Traceback" not in run.said
    assert outcomes(out)["cut"] >= 1  # the replies in flight
    messages = {row["message"] for row in run.rows() if row["outcome"] == "connect_failed"}
    assert messages
    assert all("refused" in message for message in messages)
    probe_report(out)
    findings = json.loads((out / "capacity.json").read_text())["findings"]
    assert "fail" in {finding["state"] for finding in findings if finding["check"].startswith("server_")}


def outcomes(out: Path) -> "Counter[str]":
    path = out / "requests.csv"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(row["outcome"] for row in csv.DictReader(lines) if row["outcome"])


def back_since(out: Path) -> bool:
    """Whether server metrics have been back for at least a second after a gap."""
    with (out / "server.csv").open(newline="") as file:
        times = sorted({float(row["t"]) for row in csv.DictReader(file)})
    breaks = [k for k in range(1, len(times)) if times[k] - times[k - 1] > 1.5]
    return bool(breaks) and len(times) - breaks[-1] >= 2


def test_missing_metrics_are_a_finding(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with serving("--port", "0", "--metrics", "off") as (host, _):
        brief = ("-u", "2", "-r", "2", "-t", "3s", "--max-tokens", "16", "--warm-up", "off")
        run = finished(start(locust(host, out, *brief)), out)
    assert run.code == 0
    assert "Traceback" not in run.said
    assert {row["outcome"] for row in run.rows()} == {"complete"}
    assert run.rows("server.csv") == []
    (found,) = run.manifest["findings"]
    assert (found["check"], found["state"], found["invalidates"]) == ("server_metrics", "fail", False)
    assert f"{host}/metrics" in found["why"]
    assert "404" in found["why"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=4m", "probe-test", str(place)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("NOT CHECKED: a full disk, since this user may not mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Fill the disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 256, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


@pytest.mark.parametrize("freed", [False, True], ids=["for good", "for a while"])
def test_a_disk_that_fills_up_loses_nothing(sim: str, small_disk: Path, tmp_path: Path, *, freed: bool) -> None:
    out, log = small_disk / "run", tmp_path / "log"
    arguments = ["capacity", "--host", sim, "-u", "4", "-r", "4", "--out", out]
    arguments += ["--max-tokens", "30", "--warm-up", "off"]
    log.touch()
    process = loaded.start(["probe", "run", *map(str, arguments)], os.environ, str(log))
    try:
        wait_for(lambda: replies(out) >= 4, "replies before the disk is full")
        filler = fill(small_disk)
        before = (out / "requests.csv").read_text()
        wait_for(lambda: "requests.csv: No space left" in log.read_text(), "the disk's refusal")
        if freed:
            filler.unlink()
        process.terminate()
        text = process.communicate(PATIENCE)[0] + log.read_text()
    finally:
        end(process)
    assert "Traceback" not in text
    run = Run(out, process.returncode, text)
    assert (out / "requests.csv").read_text().startswith(before)
    assert all(row["outcome"] for row in run.rows())  # whole lines only
    lost = {found["why"]: found["invalidates"] for found in run.manifest["findings"] if found["check"] == "disk"}
    told = [why for why in lost if f"{out / 'requests.csv'}: No space left on device" in why]
    assert len(told) == 1
    if freed:
        assert "written later" in told[0]
    else:  # the rows and the page fit into the space that was reserved before the start
        assert run.code == 0
        assert text.count("run.json: No space left") <= 1  # not every few seconds
    assert not any(lost.values())
    check_accounts(Run(out, 0, text), nodes=1)
    assert (out / "capacity.html").stat().st_size > 10_000


def test_writes_nothing_into_the_project(good: Path) -> None:
    """A run with --out leaves nothing under reports/."""
    manifest: dict[str, Any] = json.loads((good / "run.json").read_text())
    assert not list((ROOT / "reports").glob(f"runs/{manifest['run_id']}*"))
