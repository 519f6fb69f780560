"""After a run: its report, made by a child process that never loads Locust."""

import os
import subprocess
import sys
from pathlib import Path

from probe_ext.settings.options import KEY_VARIABLE, WEB_PASSWORD_VARIABLE


def make_report(directory: Path, *, quiet: bool = False) -> int:
    """`probe report DIRECTORY` in a process of its own, without the secrets in its environment; its exit code."""
    secrets = {KEY_VARIABLE, WEB_PASSWORD_VARIABLE}
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    command = [sys.executable, "-m", "probe_ext", "report", str(directory)]
    if quiet:
        command.append("--quiet")
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - our own module
