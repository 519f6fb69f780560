"""Make the report of a finished run in a child process, which never loads Locust."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from probe_ext.settings.request_extras import variable_pairs
from probe_ext.settings.secrets import API_KEY_VARIABLE, SWARM_TOKEN_VARIABLE, WEB_PASSWORD_VARIABLE
from probe_ext.tls_trust import PASSPHRASE_VARIABLE


def make_report(directory: Path, header_env: Iterable[str] = ()) -> int:
    """Run `probe report DIRECTORY` without our secrets in its environment, and return its exit code."""
    secrets = {API_KEY_VARIABLE, WEB_PASSWORD_VARIABLE, SWARM_TOKEN_VARIABLE, PASSPHRASE_VARIABLE}
    secrets |= {*variable_pairs(header_env).values()}
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    command = [sys.executable, "-m", "probe_ext", "report", str(directory)]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited until `cli.main` can handle Ctrl-C
    try:
        process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own module
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        return process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
