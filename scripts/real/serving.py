"""Start and stop one real server on this machine, and nothing else's; standard library only.

A server is never made the leader of a session (`start_new_session`, `setsid`): Linux then schedules it as a group of
its own, and beside such a server on few cores the clients got so little CPU that whole streams arrived in one burst.
It gets a process group instead, so that a Ctrl-C meant for the load test does not reach it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
NOT_HERE = 77  # the exit code for "this machine cannot have it"
POLL = 0.25


class NotHereError(Exception):
    """This machine cannot have the server; the message says why, in one line."""


class FailedError(Exception):
    """It should have worked; the message says what went wrong, in one line."""


def cache_folder() -> Path:
    """Where everything that these scripts install or build lies."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "probe-ext"


def from_environment(name: str, otherwise: Path) -> Path:
    value = os.environ.get(name)
    return Path(value).expanduser().absolute() if value else otherwise


def need_disk(folder: Path, gigabytes: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise NotHereError(f"{folder} has {free:.1f} GB free, {gigabytes:g} GB are needed")


def do(command: Sequence[str | Path], log: Path, why: str, where: Path | None = None) -> None:
    """Run a step of a set-up, its output appended to `log`; raise CalledProcessError if it fails."""
    print(f"{why} (log: {log})", file=sys.stderr, flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        start = out.tell()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=where, check=False)
    if done.returncode:
        with log.open("rb") as written:
            written.seek(start)
            output = written.read().decode(errors="replace")
        raise subprocess.CalledProcessError(done.returncode, [str(word) for word in command], output=output)


UNREACHABLE = ("name resolution", "NewConnectionError", "ConnectTimeout", "Max retries exceeded", "ProxyError")
UNKNOWN = ("No matching distribution found", "Could not find a version")


def pip_failure(what: str, output: str) -> Exception:
    """Why pip failed, as far as its words say it; a machine without network or wheels is no defect."""
    if any(sign in output for sign in UNREACHABLE):
        return NotHereError(f"no package index can be reached for {what}")
    for line in output.splitlines():
        if any(sign in line for sign in UNKNOWN):
            return NotHereError(f"no package index has what {what} needs: {line.strip()[:200]}")
    return FailedError(f"pip could not install {what}: {last_line(output)}")


def last_line(output: str) -> str:
    """The last line that names an error, or else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in reversed(lines) if "error" in line.lower()), lines[-1])[:300]


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    group: int
    started: str  # in whatever words the system has, to tell a process from a later one with its number


def processes() -> dict[int, Process]:
    """Every process that runs, without those that have ended and wait to be collected."""
    if Path("/proc/self/stat").exists():
        found = (_from_proc(folder) for folder in Path("/proc").iterdir() if folder.name.isdigit())
    else:
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart="], capture_output=True, text=True, check=True
        )
        found = (_from_ps(line) for line in listed.stdout.splitlines())
    return {process.pid: process for process in found if process is not None}


def _from_proc(folder: Path) -> Process | None:
    try:
        after_name = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None  # it ended while we looked
    state, parent, group, started = after_name[0], after_name[1], after_name[2], after_name[19]
    return None if state in "ZX" else Process(int(folder.name), int(parent), int(group), started)


def _from_ps(line: str) -> Process | None:
    pid, parent, group, state, started = line.split(None, 4)
    return None if state.startswith("Z") else Process(int(pid), int(parent), int(group), started)


def tree(pid: int, running: Mapping[int, Process]) -> list[Process]:
    """The process, its descendants, and what is left of its group."""
    known = {pid}
    while True:
        more = {one.pid for one in running.values() if one.parent in known or one.group == pid} - known
        if not more:
            return [running[one] for one in sorted(known) if one in running]
        known |= more


# ── one server ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True)
class Server:
    """A server of ours on one loopback port; what is running is remembered in a file, so a later call can stop it."""

    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        return cache_folder() / "run" / f"{self.name}-{self.port}.log"

    @property
    def note(self) -> Path:
        return self.log.with_suffix(".json")

    def start(self, command: Sequence[str | Path], environment: Mapping[str, str], patience: int) -> str:
        """Start it and wait for /health; return a few words on it."""
        self._refuse_if_taken()
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
            self.note.write_text(json.dumps({"pid": process.pid, "started": started.started if started else ""}))
            waited = self._wait_until_healthy(process, patience)
        except BaseException:
            self.stop()
            raise
        return f"{self.url}, up after {waited:.0f} s, pid {process.pid}, log {self.log}"

    def _refuse_if_taken(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError as error:
                raise FailedError(f"port {self.port}: {error.strerror} (--port takes another)") from None

    def _wait_until_healthy(self, process: subprocess.Popen[bytes], patience: int) -> float:
        for attempt in range(int(patience / POLL)):
            if process.poll() is not None:
                reason = last_line(self.log.read_text(errors="replace"))
                raise FailedError(f"{self.name} ended with code {process.returncode}: {reason} (log: {self.log})")
            if self._healthy():
                return attempt * POLL
            time.sleep(POLL)
        raise FailedError(f"{self.name} was not up after {patience} s (log: {self.log})")

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, grace: int = 20) -> str:
        """Ask the server to end, then make what is left of its tree; return a few words."""
        try:
            noted = json.loads(self.note.read_text())
        except (OSError, ValueError):
            return f"{self.name} on port {self.port}: none of ours runs"
        running = processes()
        leader = running.get(noted["pid"])
        ours: list[Process] = []
        if leader is None:
            ours = tree(noted["pid"], running)  # no new process gets that number while its group lives
            self._signal(ours, signal.SIGTERM)
        elif leader.started == noted["started"]:
            ours = tree(leader.pid, running)
            self._signal([leader], signal.SIGTERM)
        for _ in range(int(grace / POLL)):
            if not self._left(ours):
                break
            self._reap(noted["pid"])
            time.sleep(POLL)
        stubborn = self._left(ours)
        self._signal(stubborn, signal.SIGKILL)
        self._reap(noted["pid"])
        self.note.unlink(missing_ok=True)
        killed = f", {len(stubborn)} of {len(ours)} processes by force" if stubborn else ""
        return f"{self.name} on port {self.port}: stopped{killed}" if ours else f"{self.name}: had ended before"

    @staticmethod
    def _left(ours: Sequence[Process]) -> list[Process]:
        running = processes()
        return [one for one in ours if one.pid in running and running[one.pid].started == one.started]

    @staticmethod
    def _signal(targets: Sequence[Process], which: signal.Signals) -> None:
        for target in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(target.pid, which)

    @staticmethod
    def _reap(pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


# ── the command line that both drivers share ────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True)
class Driver:
    name: str
    about: str
    port: int
    add_options: Callable[[argparse.ArgumentParser], None]
    setup: Callable[[], str]
    start: Callable[[argparse.Namespace, Sequence[str]], str]  # options, the server's own arguments

    def main(self) -> int:
        words, command = sys.argv[1:], []
        if "--" in words:
            at = words.index("--")
            words, command = words[:at], words[at + 1 :]
        options, extra = self._parse(words)
        try:
            return self._do(options, extra, command)
        except NotHereError as reason:
            print(f"{self.name}: not on this machine: {reason}", file=sys.stderr)
            return NOT_HERE
        except (FailedError, OSError) as reason:
            print(f"{self.name}: {reason}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130

    def _parse(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        parser = argparse.ArgumentParser(
            description=self.about, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        todo = parser.add_subparsers(dest="todo", required=True)
        todo.add_parser("setup", help="install it and make its models, unless that has been done")
        for name, what in (
            ("start", "start a server and wait until it answers; options not listed here are the server's own"),
            ("run", "set up, start, run the command after `--`, and stop, whatever happens; exits as the command does"),
        ):
            one = todo.add_parser(name, help=what, description=what, allow_abbrev=False)
            one.add_argument("--port", type=int, default=self.port)
            self.add_options(one)
        todo.add_parser("stop", help="stop the server of that port").add_argument("--port", type=int, default=self.port)
        options, extra = parser.parse_known_args(words)
        if extra and options.todo in {"setup", "stop"}:
            parser.error(f"unknown: {' '.join(extra)}")
        return options, extra

    def _do(self, options: argparse.Namespace, extra: Sequence[str], command: Sequence[str]) -> int:
        if (options.todo == "run") != bool(command):
            raise FailedError("a command after `--` belongs to `run`, and to it alone")
        if options.todo == "stop":
            print(Server(self.name, options.port).stop())
            return 0
        if options.todo == "setup":
            print(f"{self.name}: {self.setup()}")
            return 0
        if options.todo == "start":
            print(f"{self.name}: {self.start(options, extra)}")
            return 0
        self.setup()
        with ended_by_signals():
            try:
                print(f"{self.name}: {self.start(options, extra)}", flush=True)
                return run_command(command)
            finally:
                for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(which, signal.SIG_IGN)  # a second Ctrl-C must not leave the server behind
                print(Server(self.name, options.port).stop(), flush=True)


class EndedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: as Ctrl-C, but to us alone."""


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end us as Ctrl-C does, so that no server is left behind."""

    def end(_number: int, _frame: object) -> None:
        raise EndedError

    before = {which: signal.signal(which, end) for which in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def run_command(command: Sequence[str]) -> int:
    """Run it in our process group, where a Ctrl-C reaches it too; interrupted, give it time to write its report."""
    with subprocess.Popen(command) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt as reason:
            if isinstance(reason, EndedError):
                process.terminate()
            code = process.wait()
    return code if code >= 0 else 128 - code
