"""Every documented command runs, against simulated servers and shortened; the commands of a page run in order.

Pages are README.md, CONTRIBUTING.md, SECURITY.md, docs/, `--help` of each command, and the scenarios' own texts.

tests/docs/stand_ins.py says what stands in for what, and which commands are not run, and why.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from probe_ext.cli import COMMANDS as PROGRAMS
from tests.docs.shell_lines import commands_in, examples_in
from tests.docs.stand_ins import NOT_RUN, ROOT, exit_codes, prepare, shorter, urls_of, why_not_run
from tests.e2e.conftest import end, free_port, wait_for
from tests.in_process_sim import running_sim

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
HELP = {f"probe {name} --help": module for name, (module, _) in PROGRAMS.items()} | {"probe --help": "probe_ext.cli"}
COMMANDS = {str(page.relative_to(ROOT)): commands_in(page) for page in PAGES} | {
    **{page: examples_in(ROOT / f"{module.replace('.', '/')}.py") for page, module in HELP.items()},
    **{path.name: examples_in(path) for path in sorted((ROOT / "locustfiles").glob("*.py"))},
}
"""page: its commands"""
WITHOUT_HOST = "probe run"
RUN_NAME = re.compile(r"\d{8}T\d{6}Z-\w+")
CTRL_C = 130
RUN_LIMIT_S = 600  # an idle machine takes a tenth of it
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "GATEWAY_KEY": "not-a-secret"}


IN_ORDER = {"probe tap --help"}
"""later examples read what the first one writes"""
WRITTEN_ON_PAGES = {line for page in PAGES for line in COMMANDS[str(page.relative_to(ROOT))]}


def to_run(page: str) -> list[str]:
    """Return the commands of a page to run. An example of `--help` that a written page has, too, is run there."""
    written = WRITTEN_ON_PAGES if page in HELP and page not in IN_ORDER else set()
    return [line for line in COMMANDS[page] if not why_not_run(line) and line != WITHOUT_HOST and line not in written]


@dataclass
class Desk:
    """A reader's working folder, and the servers that stand in for theirs."""

    folder: Path
    servers: ExitStack
    stand_ins: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, folder: Path | None = None) -> tuple[int, str]:
        """Run a command to its end; its exit code and all that it printed."""
        done = subprocess.run(
            program(words),
            cwd=folder or self.folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_LIMIT_S,
            check=False,
        )
        return done.returncode, done.stdout

    def start(self, *words: str, folder: Path | None = None) -> "subprocess.Popen[str]":
        """Start a command that runs until it is interrupted."""
        process = subprocess.Popen(
            program(words),
            cwd=folder or self.folder,
            env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.servers.callback(end, process)
        return process

    def words_of(self, line: str) -> list[str]:
        """Return the words of a command with the stand-ins in place of what they stand for."""
        words = shlex.split(line)
        model = words[words.index("--model") + 1] if "--model" in words else None
        long = {"memory_wall", "cold_user"} & {*words}  # their prompts need a larger context
        profile = "rtx3060-llama2-7b-gptq" if long else "demo"
        for index, word in enumerate(words):
            for url, scheme in urls_of(word):
                words[index] = word.replace(url, self.stand_in(url, scheme, model=model, profile=profile))
        if any(word.startswith("https://") for word in words) and "--tls-ca" not in words:
            words += ["--tls-ca", "ca.pem"]
        return words

    def stand_in_for_hosts_of(self, words: list[str]) -> None:
        """Replace the URLs in the workload file of a command."""
        file = self.folder / words[words.index("--workload") + 1] if "--workload" in words else None
        if file is not None and file.is_file():
            text = file.read_text(encoding="utf-8")
            for url, scheme in urls_of(text):
                text = text.replace(url, self.stand_in(url, scheme, model=None, profile="demo"))
            file.write_text(text, encoding="utf-8")

    def stand_in(self, url: str, scheme: str, **server: Any) -> str:
        if url not in self.stand_ins:
            sim = self.servers.enter_context(running_sim(speed=20, **server))
            self.stand_ins[url] = self.with_tls(sim.url) if scheme == "https" else sim.url
        return self.stand_ins[url]

    def with_tls(self, url: str) -> str:
        """Return the URL of a proxy that speaks TLS, in front of a server; its certificate is in ca.pem."""
        made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out ca.pem"
        subject = ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*made.split(), *subject], cwd=self.folder, check=True, capture_output=True)
        tls = ["--serve-cert", "ca.pem", "--serve-key", "key.pem"]
        proxy = self.start("probe", "tap", "--upstream", url, "--port", "0", "--out", "tls-proxy", *tls)
        return address_of(proxy)


def program(words: tuple[str, ...]) -> list[str]:
    module = {"probe": "probe_ext", "locust": "locust"}[words[0]]
    return [sys.executable, "-m", module, *words[1:]]


def address_of(process: "subprocess.Popen[str]") -> str:
    """Return the URL in the line that a server prints when it listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on "), line + (process.stdout.read() if process.poll() else "")
    return line.split()[2].rstrip(",")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as servers:
        yield Desk(tmp_path, servers)


def test_commands_are_found() -> None:
    assert sum(map(len, COMMANDS.values())) > 100
    assert all(COMMANDS[page] for page in (*HELP, "chat.py", "workload.py") if page != "probe list --help")
    assert all(any(line.startswith(f"probe {name}") for lines in COMMANDS.values() for line in lines)
               for name in ("run", "ui", "worker", "report", "compare", "plan", "merge", "doctor", "warmup", "scout",
                            "tap", "sim"))  # fmt: skip


def test_a_command_is_run_or_listed_with_a_reason() -> None:
    """Only `probe` and `locust` are run. A block that does not show commands has a language, such as `text`."""
    assert [line for page in COMMANDS for line in to_run(page) if line.split()[0] not in ("probe", "locust")] == []


def test_every_listed_command_is_in_the_documentation() -> None:
    every = [line for lines in COMMANDS.values() for line in lines]
    assert [pattern for pattern in NOT_RUN if not any(fnmatch(line, pattern) for line in every)] == []


@pytest.mark.long
@pytest.mark.parametrize("page", [page for page in COMMANDS if to_run(page)])
def test_commands_of_a_page_run(page: str, desk: Desk) -> None:
    lines = to_run(page)
    wrong = []
    for line in lines:
        words = desk.words_of(line)
        prepare(desk.folder, words)
        desk.stand_in_for_hosts_of(words)
        code, said = run_one(desk, words, lines)
        if code not in exit_codes(words):
            wrong.append(f"{line}\n  as: {shlex.join(words)}\n  exit code {code}:\n{said[-2000:]}")
        assert "Traceback (most recent call last)" not in said, f"{line}\n{said}"
    assert not wrong, "\n".join(wrong)


def run_one(desk: Desk, words: list[str], lines: list[str]) -> tuple[int, str]:
    """Run a command in the way of its kind."""
    if "--master" in words:
        return with_workers(desk, words, lines)
    if words[1] == "worker":
        assert any("--master " in line for line in lines), "a page with a worker has a master, which runs it"
        return 0, ""
    for applies, run in UNTIL_INTERRUPTED:
        if applies(words):
            return run(desk, words)
    if words[1] == "merge":
        files = [sorted(desk.folder.glob(word)) for word in words[3:]]
        assert all(files), f"{words[3:]}: no such file of the worker"
        words = [*words[:3], *(str(path) for some in files for path in some)]
    out = ["--out", f"out-{len(list(desk.folder.iterdir()))}"] if words[1] == "run" and "--out" not in words else []
    processes = ["--processes", "2"] if "--processes" in words else []
    return desk.run(*words, *shorter(words), *out, *processes)


def served_until_interrupted(desk: Desk, words: list[str]) -> tuple[int, str]:
    """`probe sim` and `probe tap`: a dozen requests, then Ctrl-C."""
    process = desk.start(*words, "--port", "0")
    url = address_of(process)
    with urllib.request.urlopen(f"{url}/v1/models", timeout=30) as answer:
        model = json.load(answer)["data"][0]["id"]
    for number in range(12):
        body = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": f"Question {number}?"}]}
        request = urllib.request.Request(
            f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
            answer.read()
    return interrupted(process)


def web_ui_until_interrupted(desk: Desk, words: list[str]) -> tuple[int, str]:
    """`probe ui` and `locust -f FILE`: the page is served, then Ctrl-C."""
    port = free_port()
    process = desk.start(*words, "--web-port", str(port))

    def page() -> bool:
        assert process.poll() is None, process.communicate()[0]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_for(page, "the web UI")
    return interrupted(process)


def board_until_interrupted(desk: Desk, words: list[str]) -> tuple[int, str]:
    """`probe scout --watch`: the first lines of its board, then Ctrl-C."""
    process = desk.start(*words)
    assert process.stdout is not None
    first = process.stdout.readline()
    code, said = interrupted(process)
    return code, first + said


def interrupted(process: "subprocess.Popen[str]") -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=RUN_LIMIT_S)
    stopped = 0 if "sim" in process.args else CTRL_C
    return int(process.returncode != stopped), f"{said}\nexit code {process.returncode} after Ctrl-C"


UNTIL_INTERRUPTED: list[tuple[Callable[[list[str]], bool], Callable[[Desk, list[str]], tuple[int, str]]]] = [
    (lambda words: words[1] == "sim" or words[1:3] == ["tap", "--upstream"], served_until_interrupted),
    (lambda words: "--watch" in words, board_until_interrupted),
    (
        lambda words: words[1] == "ui" or (words[0] == "locust" and not {"--master", "--headless"} & {*words}),
        web_ui_until_interrupted,
    ),
]


def with_workers(desk: Desk, words: list[str], lines: list[str]) -> tuple[int, str]:
    """Run a master with the page's worker command, on two machines as it were; without one, with `probe worker`.

    Workers on the master's machine keep their rows in its run directory; they are copied as docs/swarm.md says.
    """
    port = str(free_port())
    ends = ["--master-port", port, "--processes", "1", "--master-host", "127.0.0.1"]
    worker = next((line for line in lines if line.startswith("probe worker ")), "probe worker")
    out = f"reports/runs/{next((name for line in lines for name in RUN_NAME.findall(line)), 'swarm')}"
    boxes = [desk.folder / "box-2", desk.folder / "box-3"]
    [box.mkdir() for box in boxes]
    workers = [desk.start(*shlex.split(worker), *ends, folder=box) for box in boxes]
    options = [*shorter(words), "--master-bind-port", port, "--expect-workers", "2"]
    headless = ["--headless"] if words[0] == "locust" else []
    code, said = desk.run(*words, *options, *headless, "--out", out)
    if code:
        return code, said
    for process in workers:
        told, _ = process.communicate(timeout=RUN_LIMIT_S)
        said += told
        code = code or process.returncode
    kept = desk.folder / "from-box-2"
    kept.mkdir()
    for pattern in ("requests-*.csv", "gaps-*.csv", "worker-*.json"):
        for path in (desk.folder / out).glob(pattern):
            shutil.copy(path, kept)
    return code, said


@pytest.mark.long
def test_run_without_a_host(desk: Desk) -> None:
    """`probe run` finds the server on vLLM's port. Skipped where that port is taken."""
    assert WITHOUT_HOST in COMMANDS["README.md"]
    try:
        socket.create_server(("127.0.0.1", 8000)).close()
    except OSError:
        pytest.skip("port 8000 is in use")
    sim = desk.start("probe", "sim", "--speed", "20", "--port", "8000")
    assert address_of(sim) == "http://127.0.0.1:8000"
    code, said = desk.run("probe", "run", *shorter(["probe", "run", "--search"]), "--out", "found")
    assert code == 0, said
    assert "http://127.0.0.1:8000" in said
