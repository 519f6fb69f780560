"""Join a master on another machine, and run users for it until it says that the run is over.

The scenario comes from the master; a file of one's own is only needed where a locustfile imports others beside it. The
same version of probe-ext must be installed on both. Rows go to the master, and also into reports/runs/ here, for the
case that the connection or the master dies. The API key comes from PROBE_API_KEY of this machine's own environment.

What the master sends is run as code: join only masters that you trust, over a network that you trust.

examples:
  probe run capacity --host http://gpu:8000 --levels 8,16,32 --master --expect-workers 2     on the first machine
  probe worker --master-host first-machine --processes 4                                     on each other
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

from probe_ext.exit_codes import ExitCode
from probe_ext.settings.errors import SettingsError
from probe_ext.swarm.commands.run_command import find_locustfile, run_locust
from probe_ext.swarm.master.wait_for_workers import DEFAULT_PORT, wait_for_master
from probe_ext.swarm.terminal.console import ANNOUNCE_VARIABLE

FROM_MASTER = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The master, and how many processes."""
    parser.add_argument("scenario", metavar="NAME|FILE", nargs="?", help="default: the master's own, sent by it")
    parser.add_argument("--master-host", required=True, metavar="HOST", help="the machine on which the master runs")
    parser.add_argument(
        "--master-port", type=_port, default=DEFAULT_PORT, metavar="PORT", help=f"its port for workers [{DEFAULT_PORT}]"
    )
    parser.add_argument("--processes", type=_count, default=1, metavar="N", help="workers here, one a core [1]")


def main(options: argparse.Namespace) -> int:
    """Be a worker, or start several; the exit code."""
    try:
        file = str(find_locustfile(options.scenario)) if options.scenario else FROM_MASTER
        socket.getaddrinfo(options.master_host, options.master_port)
    except (SettingsError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        where = f"--master-host {options.master_host}: " if isinstance(error, OSError) else ""
        print(f"probe worker: {where}{why}", file=sys.stderr)  # noqa: T201 - a command speaks to its user
        return ExitCode.USAGE
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell began us in the background
    try:
        if not wait_for_master(options.master_host, options.master_port, time.sleep):
            return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    os.environ.setdefault(ANNOUNCE_VARIABLE, "1")
    if options.processes > 1:
        return _several(options)
    with tempfile.TemporaryDirectory(prefix="probe-worker-") as own:
        tempfile.tempdir = own  # Locust puts what the master sends there: not where others could have put it
        master = ["--master-host", options.master_host, "--master-port", str(options.master_port)]
        return run_locust(["-f", file, "--worker", "--loglevel", "WARNING", *master], Path(file))


def _several(options: argparse.Namespace) -> int:
    """One process a worker; Ctrl-C and SIGTERM reach each of them. The largest exit code."""
    command = [sys.executable, "-m", "probe_ext", "worker", "--master-host", options.master_host]
    command += ["--master-port", str(options.master_port), *([options.scenario] if options.scenario else [])]
    workers: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        asked.append(number)
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    for n in range(options.processes):
        environment = {**os.environ, ANNOUNCE_VARIABLE: "0" if n else "1"}  # one speaks for all
        # A group of its own: Ctrl-C on a terminal then comes once, through us.
        workers.append(subprocess.Popen(command, process_group=0, env=environment))  # noqa: S603 - our own module
        if asked:  # while this one was being started
            workers[-1].send_signal(asked[-1])
    return max(abs(worker.wait()) for worker in workers)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text}: is no port (1 to 65535)")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: is no whole number of 1 or more")
    return int(text)
