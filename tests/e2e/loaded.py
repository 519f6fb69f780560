"""`probe run` and `locust` from a process that has already loaded Locust: it forks, and the child runs the command.

Loading Locust takes a second of CPU time, often more than all the rest of a short run. So one such process serves all
workers of pytest-xdist. That the commands load what they need is shown by the tests that start them anew.
"""

import atexit
import contextlib
import fcntl
import gc
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TextIO

PATIENCE = 300
"""seconds after which a command of `ask` is killed"""
FOLDER = "TESTS_LOADED_FOLDER"
"""environment variable with the folder of the process's socket"""
LOOK_AROUND_S = 2.0


class Started:
    """A command in a process group of its own, with what tests use of `subprocess.Popen`."""

    def __init__(self, output: TextIO, status: int) -> None:
        self.stdout = output
        self.returncode: int | None = None
        self._status = os.fdopen(status, encoding="ascii")
        self.pid = int(self._status.readline())

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked command", timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Read the output to its end, and wait for the exit code."""
        parts: list[str] = []
        reader = threading.Thread(target=lambda: parts.append(self.stdout.read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            raise subprocess.TimeoutExpired("a forked command", timeout or 0)
        self.stdout.close()
        self.wait(timeout)
        return parts[0], None

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def share() -> None:
    """Let all workers that this process starts use one process; call it before they start."""
    folder = tempfile.mkdtemp(prefix="probe-loaded-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[FOLDER] = f"{folder}:{os.getpid()}"


@cache
def _loaded() -> socket.socket:
    """Connect to the process, and start it if nobody has. It ends after the process that shares it."""
    if FOLDER not in os.environ:
        share()
    folder, _, owner = os.environ[FOLDER].rpartition(":")
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with Path(folder, "lock").open("w") as lock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as its:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = f"{folder}/socket"
        if not Path(path).exists():
            its.bind(path)
            subprocess.Popen([sys.executable, __file__, str(its.fileno()), owner], pass_fds=[its.fileno()])
    ours.connect(path)
    return ours


def start(command: list[str], environment: Mapping[str, str], errors: str | None = None) -> Started:
    """Start `probe run …` or `locust …`; its stderr goes into its stdout, or into a file."""
    output, status = os.pipe(), os.pipe()
    asked = {"command": command, "environment": dict(environment), "folder": str(Path.cwd()), "errors": errors}
    with os.fdopen(os.memfd_create("asked"), "w+b") as file:  # longer than a message may be
        file.write(json.dumps(asked).encode())
        file.flush()
        socket.send_fds(_loaded(), [b"!"], [file.fileno(), output[1], status[1]])
    for end in (output[1], status[1]):
        os.close(end)
    return Started(os.fdopen(output[0], encoding="utf-8"), status[0])


def ask(command: list[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run such a command, and return its output, errors apart, and its exit code."""
    with os.fdopen(os.memfd_create("errors"), "w+", encoding="utf-8") as errors:
        path = f"/proc/{os.getpid()}/fd/{errors.fileno()}"
        started = start(command, environment, path)
        try:
            output, _ = started.communicate(PATIENCE)
        finally:
            started.kill()
        errors.seek(0)
        return subprocess.CompletedProcess(command, started.wait(), output, errors.read())


def _serve(asking: socket.socket, owner: int) -> None:
    """Fork for each message, and run the command in a child of the fork, which tells its process id and exit code."""
    import locust.main  # noqa: F401, PLC0415 - patches this process, and is for it alone
    from gevent import monkey  # noqa: PLC0415 - as above

    import probe_ext.swarm.listeners  # noqa: F401, PLC0415 - as above

    # The patched versions need a running event loop.
    fork, wait, close = monkey.get_original("os", ["fork", "waitpid", "close"])
    wait_for_input = monkey.get_original("select", "select")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    gc.freeze()  # or the collector of each fork looks through, and so copies, all that is loaded here
    while True:
        while not wait_for_input([asking], [], [], LOOK_AROUND_S)[0]:
            try:
                os.kill(owner, 0)
            except ProcessLookupError:
                return
        _, descriptors, _, _ = socket.recv_fds(asking, 1, 3)
        if not fork():
            break
        for descriptor in descriptors:
            close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    file, output, status = descriptors
    child = fork()
    if not child:
        os.setpgid(0, 0)
        with os.fdopen(file, "rb") as asked:
            asked.seek(0)
            command = json.load(asked)
        errors = os.open(command["errors"], os.O_WRONLY | os.O_APPEND) if command["errors"] else output
        for descriptor, source in enumerate((os.open(os.devnull, os.O_RDONLY), output, errors)):
            os.dup2(source, descriptor)
        for descriptor in (output, status, asking.detach()):  # a socket left open would close its number at exit,
            close(descriptor)  # which by then is a descriptor of ZeroMQ's
        sys.exit(_become(command))
    close(output)
    os.write(status, b"%d\n" % child)
    os.write(status, b"%d\n" % os.waitstatus_to_exitcode(wait(child, 0)[1]))
    os._exit(0)


def _become(asked: dict[str, Any]) -> int:
    import gevent  # noqa: PLC0415 - as above

    from probe_ext.cli import main  # noqa: PLC0415 - as above

    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    random.seed()
    gevent.reinit()
    sys.argv = asked["command"]
    if Path(sys.argv[0]).name == "probe":
        return main(sys.argv[1:])
    from locust.main import main as plain  # noqa: PLC0415 - as above

    plain()
    return 0


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
