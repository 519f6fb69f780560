"""A simulated server, and Locust run against it as by a user: processes, signals, files."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import loaded

ROOT = Path(__file__).resolve().parents[2]
CAPACITY = ROOT / "locustfiles" / "capacity.py"
BIN = Path(sys.executable).parent
PATIENCE = 300
"""seconds after which a running process is a failure"""


@dataclass(frozen=True)
class Run:
    """The results of a finished run."""

    directory: Path
    code: int
    said: str

    def rows(self, name: str = "requests.csv") -> list[dict[str, str]]:
        with (self.directory / name).open(newline="") as file:
            text = file.read()  # at once: a run that is still going on may write its first line in between
        return list(csv.DictReader(io.StringIO(text, newline="")))

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(json.loads((self.directory / "run.json").read_text()))

    @property
    def locust_total(self) -> int:
        rows = self.rows("locust_stats.csv")
        return int(next(row for row in rows if row["Name"] == "Aggregated")["Request Count"])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(what: Callable[[], Any], why: str) -> Any:
    """Poll until the result is true."""
    until = time.monotonic() + PATIENCE  # noqa: TID251 - a test's own patience
    while time.monotonic() < until:  # noqa: TID251
        if found := what():
            return found
        time.sleep(0.1)
    pytest.fail(f"waited {PATIENCE} s in vain: {why}")


def end(process: "Process") -> None:
    """End a process of a test, in any state."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def simulated(*arguments: str) -> Iterator[str]:
    """Start a simulated server, and end it; its URL."""
    process = subprocess.Popen([BIN / "probe", "sim", *arguments, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().rpartition(" ")[2].strip()
    finally:
        end(process)


@pytest.fixture(scope="session")
def sim() -> Iterator[str]:
    """A simulated server's URL. Its replies take one to three seconds."""
    with simulated("--profile", "demo") as url:
        yield url


def locust(host: str, out: Path, *arguments: str, file: Path = CAPACITY) -> list[str]:
    """Return a headless Locust's command line."""
    quiet = ["--headless", "--only-summary", "--loglevel", "WARNING", "--no-report", "--drain", "20s"]
    quiet += ["--warm-up", "off"]
    line = [str(BIN / "locust"), "-f", str(file), "--host", host, "--out", str(out), *quiet, *arguments]
    return line + (channel() if "--processes" in arguments else [])


def channel() -> list[str]:
    """Return a port for a master that no other test uses."""
    port = str(free_port())
    return ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]


Process = subprocess.Popen[str] | loaded.Started


def start(command: list[str], **environment: str) -> Process:
    """Start a command in a process group of its own; a load test from a process that has already loaded Locust."""
    name = Path(command[0]).name
    if name == "locust" or (name, *command[1:2]) in {("probe", "run"), ("probe", "worker")}:
        return loaded.start(command, {**os.environ, **environment})
    return start_anew(command, **environment)


def start_anew(command: list[str], **environment: str) -> subprocess.Popen[str]:
    """Start a command as a user does, in a process group of its own."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
        env={**os.environ, **environment},
    )


def finished(process: Process, out: Path) -> Run:
    """Wait for the end."""
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    finally:
        end(process)
    return Run(out, process.returncode, said)


def stopped(process: Process, out: Path, enough: Callable[[list[dict[str, str]]], object]) -> Run:
    """End a run in order, with exit code 0, once it has enough rows of replies: on a slow machine that takes longer."""

    def rows() -> list[dict[str, str]]:
        return Run(out, 0, "").rows() if (out / "requests.csv").exists() else []

    try:
        wait_for(lambda: process.poll() is not None or enough(rows()), "enough replies")
        process.terminate()
        return finished(process, out)
    finally:
        end(process)


def replies(out: Path) -> int:
    """Return the current rows of requests.csv."""
    path = out / "requests.csv"
    return max(0, path.read_text().count("\n") - 1) if path.exists() else 0
