"""Faults with real processes, networks and disks: replies by the server's own record, counted replies, messages.

`make test-swarm` runs these; they take some minutes. Where PROBE_FAULTS_FILE names a file, each adds its line to it.
"""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from probe_ext.report.report_command import build
from tests.e2e.conftest import BIN, CAPACITY, Run, end, finished, free_port, replies, start, wait_for

ELSEWHERE = ("unshare", "--time", "--monotonic", "5000", "--fork", "--kill-child")
"""a clock of its own, as on another machine"""
USERS = ("-u", "6", "-r", "6")


@dataclass
class Sim:
    """A simulated server that records its replies."""

    url: str
    truth: Path
    process: subprocess.Popen[str]

    def served(self, run: Path) -> int:
        """Stop the server, and return how many of the requests that it recorded are of this run, not from before it."""
        end(self.process)
        start, *lines = [json.loads(line) for line in self.truth.read_text().splitlines()]
        since = json.loads((run / "run.json").read_text())["started_unix"] - start["epoch"] + start["monotonic"]
        return len({line["id"] for line in lines if "id" in line and line["arrival"] >= since})


@contextlib.contextmanager
def sim(*more: str, bind: str = "127.0.0.1", port: str = "0", env: dict[str, str] | None = None) -> Iterator[Sim]:
    """Start one, with replies of one to three seconds."""
    with tempfile.TemporaryDirectory() as folder:
        truth = Path(folder) / "truth.jsonl"
        command = [str(BIN / "probe"), "sim", "--profile", "demo", "--host", bind, "--port", port]
        process = subprocess.Popen([*command, "--truth", str(truth), *more], stdout=subprocess.PIPE, text=True, env=env)
        try:
            assert process.stdout is not None
            yield Sim(process.stdout.readline().rpartition(" ")[2].strip(), truth, process)
        finally:
            end(process)


@dataclass
class Swarm:
    """A master, and separately started workers."""

    out: Path
    port: str
    process: subprocess.Popen[str]
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    def join(self, *before: str, cwd: Path | None = None, host: str = "127.0.0.1", **how: Any) -> subprocess.Popen[str]:
        """Start `probe worker`, with `before` as a command prefix. Its backup stays out of the checkout."""
        cwd = cwd or self.out.absolute().parent
        command = [*before, str(BIN / "probe"), "worker", "--master-host", host, "--master-port", self.port]
        self.workers.append(
            subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)
        )
        return self.workers[-1]

    def wait_for_replies(self, more: int) -> None:
        """Wait for this many more replies."""
        before = replies(self.out)
        wait_for(lambda: replies(self.out) >= before + more, f"{more} more replies")

    def manifest(self) -> dict[str, Any]:
        """Return the manifest on the disk."""
        return dict(json.loads((self.out / "run.json").read_text()))

    def rows_of(self, worker: dict[str, Any]) -> int:
        """Return the rows on the master's disk."""
        return sum(line.startswith(worker["id"]) for line in (self.out / "requests.csv").read_text().splitlines())

    def finish(self) -> Run:
        """Wait for the end."""
        return finished(self.process, self.out)


@contextlib.contextmanager
def swarm(
    url: str, out: Path, *arguments: str, expect: int = 2, bind: str = "127.0.0.1", env: dict[str, str] | None = None
) -> Iterator[Swarm]:
    """A headless master."""
    port = str(free_port())
    command = [str(BIN / "locust"), "-f", str(CAPACITY), "--host", url, "--out", str(out), "--headless"]
    command += ["--only-summary", "--loglevel", "WARNING", "--no-report", "--drain", "20s", "--warm-up", "off"]
    command += ["--master", "--master-bind-host", bind, "--master-bind-port", port, "--expect-workers", str(expect)]
    made = Swarm(out, port, start([*command, *arguments], **env or {}))
    try:
        yield made
    finally:
        for process in [made.process, *made.workers]:
            end(process)


def findings(run: Path) -> dict[str, Any]:
    """Return the report's findings that did not pass, by check."""
    judged = build(run).judgement
    return {one.check: one for one in judged.findings if one.state != "pass"}


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record a test's result for docs/faults.md."""

    def note(fault: str, *, fired: object, counted: object, reported: str) -> None:
        file = os.environ.get("PROBE_FAULTS_FILE")
        line = {"test": request.node.name, "fault": fault, "fired": fired, "counted": counted, "reported": reported}
        if file:
            with Path(file).open("a") as lines:
                lines.write(json.dumps(line) + "\n")

    return note
