"""Join a master on another machine, and run users for it until the run is over.

The master sends the scenario; pass a local file only if the locustfile imports others beside it. Both sides need the
same version of probe-ext. Rows go to the master, and as a backup into reports/runs/ on this machine, in case the
connection or the master is lost. The API key is read from PROBE_API_KEY in this machine's own environment.

The worker executes the code that the master sends: only join masters and networks that you trust.

examples:
  probe run capacity --host http://gpu:8000 --levels 8,16,32 --master --expect-workers 2     on the first machine
  probe worker --master-host first-machine --processes 4                                     on each of the others
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from probe_ext.access.scenario import find_locustfile
from probe_ext.exit_codes import ExitCode
from probe_ext.settings.errors import SettingsError
from probe_ext.swarm.commands.run_command import run_locust
from probe_ext.swarm.preparation.local_workers import PARENT_VARIABLE
from probe_ext.swarm.preparation.wait_for_workers import DEFAULT_PORT, wait_for_master
from probe_ext.swarm.terminal.console import ANNOUNCE_VARIABLE

_FROM_MASTER = "-"  # Locust's own name for the file that the master sends


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `probe worker`."""
    parser.add_argument("scenario", metavar="NAME|FILE", nargs="?", help="default: the one that the master sends")
    parser.add_argument("--master-host", required=True, metavar="HOST", help="host name or address of the master")
    parser.add_argument(
        "--master-port", type=_port, default=DEFAULT_PORT, metavar="PORT", help=f"the master's port [{DEFAULT_PORT}]"
    )
    parser.add_argument("--processes", type=_count, default=1, metavar="N", help="worker processes, one per core [1]")


def main(options: argparse.Namespace) -> int:
    """Run one or several workers, and return the exit code."""
    try:
        file = str(find_locustfile(options.scenario)) if options.scenario else _FROM_MASTER
        socket.getaddrinfo(options.master_host, options.master_port)
    except SettingsError as error:
        return _wrong(str(error))
    except OSError as error:
        return _wrong(f"--master-host {options.master_host}: {error.strerror}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for background processes
    try:
        if not wait_for_master(options.master_host, options.master_port, time.sleep):
            return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    os.environ.setdefault(ANNOUNCE_VARIABLE, "1")
    if options.processes > 1:
        return _run_several(options)
    with tempfile.TemporaryDirectory(prefix="probe-worker-") as private:
        tempfile.tempdir = private  # Locust puts the master's file there, out of other users' reach
        master = ["--master-host", options.master_host, "--master-port", str(options.master_port)]
        return run_locust(["-f", file, "--worker", "--loglevel", "WARNING", *master], Path(file))


def _wrong(why: str) -> int:
    print(f"probe worker: {why}", file=sys.stderr)  # noqa: T201 - command output
    return ExitCode.USAGE


def _run_several(options: argparse.Namespace) -> int:
    """Run one process per worker, pass signals on to all, and return the largest exit code."""
    command = [sys.executable, "-m", "probe_ext", "worker", "--master-host", options.master_host]
    command += ["--master-port", str(options.master_port), *([options.scenario] if options.scenario else [])]
    workers: list[subprocess.Popen[bytes]] = []
    received: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        received.append(number)
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    for n in range(options.processes):
        environment = {**os.environ, ANNOUNCE_VARIABLE: "0" if n else "1", PARENT_VARIABLE: str(os.getpid())}
        # In a process group of its own, so that a terminal's Ctrl-C reaches it only once, through us.
        workers.append(subprocess.Popen(command, process_group=0, env=environment))  # noqa: S603 - our own module
        if received:  # while this one was being started
            workers[-1].send_signal(received[-1])
    return max(_exit_code(worker.wait(), received) for worker in workers)


def _exit_code(status: int, received: list[int]) -> int:
    """Return a process's exit code; one that a signal of ours ended before it could handle it was ended in order."""
    if status >= 0:
        return status
    if -status in received:
        return ExitCode.INTERRUPTED if -status == signal.SIGINT else ExitCode.OK
    return ExitCode.INVALID  # killed by somebody else: its last rows are missing


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid port (1 to 65535)")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)
