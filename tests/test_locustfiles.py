"""The bundled locustfiles: short, simple, and doing what their first line says."""

import ast
import importlib.metadata
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probe_ext.measure.table_rows import WARM_UP
from tests.e2e import loaded
from tests.e2e.conftest import (
    BIN,
    PATIENCE,
    ROOT,
    Run,
    end,
    finished,
    free_port,
    locust,
    simulated,
    start,
    stopped,
    wait_for,
)
from tests.e2e.test_endings import check_accounts

FILES = sorted((ROOT / "locustfiles").glob("*.py"))
BASELINE, CHAT = ROOT / "locustfiles" / "baseline.py", ROOT / "locustfiles" / "chat.py"
each_file = pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)


def constant(file: Path, name: str) -> int:
    """Return a constant of a locustfile."""
    tree = ast.parse(file.read_text())
    found = [n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == name]
    return int(ast.literal_eval(found[0].value))


MEASURED, WARM_UPS = constant(BASELINE, "MEASURED_REPLIES"), constant(BASELINE, "WARM_UP_REPLIES")
TURNS = constant(CHAT, "TURNS")


@pytest.fixture(scope="session")
def fast() -> Iterator[str]:
    """A simulated server, ten times as fast as the demo's GPU."""
    with simulated("--speed", "10") as url:
        yield url


def test_there_are_locustfiles() -> None:
    assert {"baseline", "capacity", "chat"} <= {file.stem for file in FILES}


def commands(file: Path) -> list[str]:
    """Return the command lines in a locustfile's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return [line for line in text.splitlines() if line.startswith(("probe ", "locust "))]


@each_file
def test_docstring_says_purpose_and_command(file: Path) -> None:
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    first, blank, *_ = text.splitlines()
    assert first.endswith(".")
    assert blank == ""
    lines = commands(file)
    assert any(line.startswith(f"probe run {file.stem} --host http") for line in lines)
    assert any(line.startswith(f"locust -f locustfiles/{file.name} --host http") for line in lines)


@each_file
def test_loads_in_plain_locust_with_the_options_it_names(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [word for line in commands(file) for word in shlex.split(line)[3:]]
    for flag in ("--tags", "--processes"):  # these two would change what is listed
        if flag in options:
            del options[options.index(flag) : options.index(flag) + 2]
    command = [str(BIN / "locust"), "-f", str(file), "--list", *options]
    monkeypatch.chdir(tmp_path)
    if file.stem == "capacity":
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    else:
        result = loaded.ask(command, os.environ)
    assert result.returncode == 0, result.stderr
    classes = [node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)]
    assert len(classes) == 1
    assert result.stdout.split() == ["Available", "Users:", *classes]


@each_file
def test_is_short_and_imports_only_locust_and_this_package(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 40
    roots = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            roots |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(str(node.module))  # the full name: a locustfile may only import from the package itself
    assert {"locust", "probe_ext"} <= roots
    assert roots <= {"locust", "probe_ext", "typing"}
    assert "LoadTestShape" not in text  # a shape would hide the web UI's user fields


@each_file
def test_name_does_not_shadow_another_module(file: Path) -> None:
    """Locust puts a locustfile's folder first on the path, so its name hides every other module of that name."""
    taken = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    assert {"locust", "json"} <= taken
    assert file.stem not in taken


BRIEF = ("--max-tokens", "12", "--input-tokens", "60", "--warm-up", "off")


def check_baseline(run: Run, nodes: int) -> None:
    check_accounts(run, nodes=nodes)
    rows = sorted(run.rows(), key=lambda row: float(row["due"]))
    names = [row["scenario"] for row in rows]
    assert names == [WARM_UP] * WARM_UPS + ["baseline"] * MEASURED
    assert {row["outcome"] for row in rows} == {"complete"}
    assert len({row["user"] for row in rows}) == 1
    assert run.manifest["end_reason"] == "scenario_done"
    assert run.manifest["plan"] is None


def test_baseline_measures_its_replies_and_ends(fast: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [str(BIN / "probe"), "run", "baseline", "--host", fast, "--out", str(out), *BRIEF]
    run = finished(start(command), out)
    assert run.code == 0, run.said
    check_baseline(run, nodes=1)
    assert (out / "capacity.html").exists()


@pytest.mark.long
def test_baseline_ends_with_two_workers(fast: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = finished(start(locust(fast, out, "--processes", "2", *BRIEF, file=BASELINE)), out)
    assert run.code == 0, run.said
    workers = Counter(row["worker"] for row in run.rows())
    assert len(workers) == 1  # there is a single user, on either worker
    check_baseline(run, nodes=2)


Enough = Callable[[list[dict[str, str]]], object]


def apart(host: str, out: Path, *arguments: str, file: Path, enough: Enough = lambda _: False) -> Run:
    """A master and two separately started workers, all of which must exit by themselves when the run ends."""
    port = str(free_port())
    way = ("--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", "2")
    master = start(locust(host, out, *arguments, "--master", *way, file=file))
    join = [str(BIN / "locust"), "-f", str(file), "--worker", "--master-port", port, "--loglevel", "WARNING"]
    workers = [start(join) for _ in range(2)]
    try:
        run = stopped(master, out, enough)
        assert [worker.wait(PATIENCE) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            end(worker)
    return run


def test_baseline_ends_with_separate_workers(fast: str, tmp_path: Path) -> None:
    run = apart(fast, tmp_path / "run", *BRIEF, file=BASELINE)
    assert run.code == 0, run.said
    assert len({row["worker"] for row in run.rows()}) == 1
    check_baseline(run, nodes=2)


def test_baseline_ends_in_the_web_ui_which_stays(fast: str, tmp_path: Path) -> None:
    port, out = str(free_port()), tmp_path / "ui"
    command = [BIN / "locust", "-f", BASELINE, "--host", fast, "--web-host", "127.0.0.1", "--web-port", port]
    command += ["--out", out, "--no-report", "--loglevel", "WARNING", *BRIEF]
    process = start([str(part) for part in command])
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: state(url), "the web UI")
        for directory in (out, out.with_name("ui-2")):
            form = urllib.parse.urlencode({"user_count": "1", "spawn_rate": "1"}).encode()
            with urllib.request.urlopen(f"{url}/swarm", form, timeout=PATIENCE) as answer:
                assert json.load(answer)["success"]
            manifest = directory / "run.json"
            wait_for(lambda m=manifest: m.exists() and '"ended_at": "' in m.read_text(), "the run's own end")
            wait_for(lambda: state(url) == "stopped", "the UI to say so")
            check_baseline(Run(directory, 0, ""), nodes=1)
    finally:
        process.send_signal(signal.SIGINT)
        finished(process, out)


def state(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/stats/requests", timeout=PATIENCE) as answer:
            return str(json.load(answer)["state"])
    except OSError:
        return ""


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    """A user's modified copy of the chat scenario, with faster users."""
    file = tmp_path / "hasty_chat.py"
    text, changes = re.subn(r"between\(1, 3\)", "between(0.05, 0.1)", CHAT.read_text())
    assert changes == 1
    file.write_text(text)
    return file


CHATTING = ("-u", "4", "-r", "4", *BRIEF)


def all_chatted(rows: list[dict[str, str]]) -> bool:
    return len({row["user"] for row in rows}) == 4 and len(rows) >= 5 * TURNS


def check_chats(run: Run) -> None:
    """Check chats of two workers: no reply lost, no chat split, no user on both."""
    assert run.code == 0, run.said
    check_accounts(run, nodes=2, least=4 * TURNS)
    rows = sorted(run.rows(), key=lambda row: float(row["due"]))
    assert {row["outcome"] for row in rows} == {"complete"}
    assert len({row["worker"] for row in rows}) == 2
    assert len({row["user"] for row in rows}) == 4
    for user in {row["user"] for row in rows}:
        mine = [row for row in rows if row["user"] == user]
        assert len({row["worker"] for row in mine}) == 1
        assert [row["kind"] for row in mine] == [("turn" if k % TURNS else "chat") for k in range(len(mine))]


@pytest.mark.long
def test_chat_with_two_workers(fast: str, hasty: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    check_chats(stopped(start(locust(fast, out, "--processes", "2", *CHATTING, file=hasty)), out, all_chatted))


def test_chat_with_separate_workers(fast: str, hasty: Path, tmp_path: Path) -> None:
    check_chats(apart(fast, tmp_path / "run", *CHATTING, file=hasty, enough=all_chatted))


def replies_of(truth: Path) -> list[dict[str, int]]:
    """Return the simulated server's record of each reply."""
    return [line for line in map(json.loads, truth.read_text().splitlines()) if "prompt_tokens" in line]


def test_chat_grows_turn_by_turn(hasty: Path, tmp_path: Path) -> None:
    out, truth = tmp_path / "run", tmp_path / "truth.jsonl"
    serve = [str(BIN / "probe"), "sim", "--port", "0", "--speed", "4", "--truth", str(truth)]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        host = server.stdout.readline().rpartition(" ")[2].strip()
        process = start(locust(host, out, "-u", "2", "-r", "2", *BRIEF, file=hasty))
        run = stopped(process, out, lambda rows: len(rows) >= 6 * TURNS)
    finally:
        end(server)
    check_accounts(run, nodes=1)
    assert {row["scenario"] for row in run.rows()} == {"hasty_chat"}
    served = {(reply["prompt_tokens"], reply["cached_tokens"]) for reply in replies_of(truth)}
    turns = 0
    for user in {row["user"] for row in run.rows()}:
        mine = sorted((row for row in run.rows() if row["user"] == user), key=lambda row: float(row["due"]))
        chats = [mine[k : k + TURNS] for k in range(0, len(mine), TURNS)]
        assert len(chats[0]) == TURNS
        for chat in chats:
            lengths = [int(row["tokens_in"]) for row in chat]
            for before, row in itertools.pairwise(chat):
                said = int(before["tokens_in"]) + int(before["tokens_out"])
                assert int(row["tokens_in"]) >= said + 50  # all of it, and a question of about 60 tokens
                cached = {hit for length, hit in served if length == int(row["tokens_in"])}
                assert max(cached) >= int(before["tokens_in"]) - 32  # the server had received nearly all of it
                turns += 1
            assert lengths == sorted(lengths)
    assert turns >= 6
