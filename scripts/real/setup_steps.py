"""Set-up steps of the real servers: cache folder, disk space, pip and build commands; standard library only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class UnsupportedError(Exception):
    """This machine cannot run the server; the message is a one-line reason."""


class FailedError(Exception):
    """A step failed that should have worked; the message is one line."""


def cache_folder() -> Path:
    """Return the folder for everything that these scripts install or build."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "probe-ext"


def path_from_environment(name: str, default: Path) -> Path:
    value = os.environ.get(name)
    return Path(value).expanduser().absolute() if value else default


def models() -> Path:
    """Return the folder of the random models, which all servers share."""
    return path_from_environment("PROBE_MODELS", cache_folder() / "models")


def require_disk(folder: Path, gigabytes: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise UnsupportedError(f"{folder} has {free:.1f} GB free; {gigabytes:g} GB are required")


def run_step(command: Sequence[str | Path], log: Path, description: str, cwd: Path | None = None) -> None:
    """Run a set-up command and append its output to `log`. Raises CalledProcessError if it fails."""
    print(f"{description} (log: {log})", file=sys.stderr, flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        start = out.tell()
        completed = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, check=False)
    if completed.returncode:
        with log.open("rb") as file:
            file.seek(start)
            output = file.read().decode(errors="replace")
        raise subprocess.CalledProcessError(completed.returncode, [str(word) for word in command], output=output)


NO_NETWORK_SIGNS = ("name resolution", "NewConnectionError", "ConnectTimeout", "Max retries exceeded", "ProxyError")
NO_PACKAGE_SIGNS = ("No matching distribution found", "Could not find a version")


def pip_failure(what: str, output: str) -> Exception:
    """Return the error for a failed pip run; a missing network or wheel means that the machine is unsupported."""
    if any(sign in output for sign in NO_NETWORK_SIGNS):
        return UnsupportedError(f"no package index is reachable to install {what}")
    for line in output.splitlines():
        if any(sign in line for sign in NO_PACKAGE_SIGNS):
            return UnsupportedError(f"the package index lacks a requirement of {what}: {line.strip()[:200]}")
    return FailedError(f"pip could not install {what}: {last_line(output)}")


def last_line(output: str) -> str:
    """Return the last line that contains "error", or else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no output"]
    return next((line for line in reversed(lines) if "error" in line.lower()), lines[-1])[:300]
