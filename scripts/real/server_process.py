"""Start and stop one server process on this machine, and no one else's; standard library only.

The server is never made a session leader (`start_new_session`, `setsid`): Linux then schedules it as a separate group,
and on machines with few cores the load generator next to it got so little CPU that whole streams arrived in one burst.
It gets its own process group instead, so that a Ctrl-C for the load test does not reach it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from setup_steps import FailedError, cache_folder, last_line

HOST = "127.0.0.1"
POLL_S = 0.25


@dataclasses.dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    group: int
    started: str  # start time in the system's format; distinguishes a process from a later one with the same pid


def processes() -> dict[int, Process]:
    """Return all running processes by pid, without zombies."""
    if Path("/proc/self/stat").exists():
        parsed = (_from_proc(folder) for folder in Path("/proc").iterdir() if folder.name.isdigit())
    else:
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart="], capture_output=True, text=True, check=True
        )
        parsed = (_from_ps(line) for line in listed.stdout.splitlines())
    return {process.pid: process for process in parsed if process is not None}


def _from_proc(folder: Path) -> Process | None:
    try:
        after_name = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None  # it has ended in the meantime
    state, parent, group, started = after_name[0], after_name[1], after_name[2], after_name[19]
    return None if state in "ZX" else Process(int(folder.name), int(parent), int(group), started)


def _from_ps(line: str) -> Process | None:
    pid, parent, group, state, started = line.split(None, 4)
    return None if state.startswith("Z") else Process(int(pid), int(parent), int(group), started)


def tree(pid: int, running: Mapping[int, Process]) -> list[Process]:
    """Return the process, its descendants, and the remaining members of its process group."""
    pids = {pid}
    while True:
        new = {process.pid for process in running.values() if process.parent in pids or process.group == pid} - pids
        if not new:
            return [running[member] for member in sorted(pids) if member in running]
        pids |= new


@dataclasses.dataclass(frozen=True)
class Server:
    """A server on one loopback port. Its pid is stored in a file, so that a later call can stop it."""

    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        return cache_folder() / "run" / f"{self.name}-{self.port}.log"

    @property
    def pid_file(self) -> Path:
        return self.log.with_suffix(".json")

    def start(self, command: Sequence[str | Path], environment: Mapping[str, str], timeout_s: int) -> str:
        """Start the server and wait until /health answers; return a description."""
        self._check_port()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as out:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.log.parent,
                env={**os.environ, **environment},
                process_group=0,
            )
        try:
            started = processes().get(process.pid)
            self.pid_file.write_text(json.dumps({"pid": process.pid, "started": started.started if started else ""}))
            waited = self._wait_until_healthy(process, timeout_s)
        except BaseException:
            self.stop()
            raise
        return f"{self.url}, up after {waited:.0f} s, pid {process.pid}, log {self.log}"

    def _check_port(self) -> None:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, self.port))
            except OSError as error:
                raise FailedError(f"port {self.port}: {error.strerror} (choose another with --port)") from None

    def _wait_until_healthy(self, process: subprocess.Popen[bytes], timeout_s: int) -> float:
        for attempt in range(int(timeout_s / POLL_S)):
            if process.poll() is not None:
                reason = last_line(self.log.read_text(errors="replace"))
                raise FailedError(f"{self.name} exited with code {process.returncode}: {reason} (log: {self.log})")
            if self._healthy():
                return attempt * POLL_S
            time.sleep(POLL_S)
        raise FailedError(f"{self.name} was not healthy after {timeout_s} s (log: {self.log})")

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, grace_s: int = 20) -> str:
        """Terminate the server, then kill whatever is left of its process tree; return a description."""
        try:
            recorded = json.loads(self.pid_file.read_text())
        except (OSError, ValueError):
            return f"{self.name} on port {self.port}: not running"
        running = processes()
        leader = running.get(recorded["pid"])
        ours: list[Process] = []
        if leader is None:
            ours = tree(recorded["pid"], running)  # the pid is not reused while its process group exists
            self._signal(ours, signal.SIGTERM)
        elif leader.started == recorded["started"]:
            ours = tree(leader.pid, running)
            self._signal([leader], signal.SIGTERM)
        for _ in range(int(grace_s / POLL_S)):
            if not self._still_running(ours):
                break
            self._reap(recorded["pid"])
            time.sleep(POLL_S)
        survivors = self._still_running(ours)
        self._signal(survivors, signal.SIGKILL)
        self._reap(recorded["pid"])
        self.pid_file.unlink(missing_ok=True)
        killed = f", {len(survivors)} of {len(ours)} processes killed" if survivors else ""
        return f"{self.name} on port {self.port}: stopped{killed}" if ours else f"{self.name}: had already exited"

    @staticmethod
    def _still_running(ours: Sequence[Process]) -> list[Process]:
        running = processes()
        return [
            process for process in ours if process.pid in running and running[process.pid].started == process.started
        ]

    @staticmethod
    def _signal(targets: Sequence[Process], number: signal.Signals) -> None:
        for target in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(target.pid, number)

    @staticmethod
    def _reap(pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
