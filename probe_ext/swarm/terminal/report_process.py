"""Make the report of a finished run in a child process, which never loads Locust."""

import os
import subprocess
import sys
from pathlib import Path

from probe_ext.settings.secrets import API_KEY_VARIABLE, SWARM_TOKEN_VARIABLE, WEB_PASSWORD_VARIABLE
from probe_ext.tls_trust import PASSPHRASE_VARIABLE


def make_report(directory: Path) -> int:
    """Run `probe report DIRECTORY` without our secrets in its environment, and return its exit code."""
    secrets = {API_KEY_VARIABLE, WEB_PASSWORD_VARIABLE, SWARM_TOKEN_VARIABLE, PASSPHRASE_VARIABLE}
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    command = [sys.executable, "-m", "probe_ext", "report", str(directory)]
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - our own module
