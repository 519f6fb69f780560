"""What is expected of containers: commands that succeed, conditions that come true, values that are equal."""

import http.client
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXIT_SKIPPED = 77
RUNS_DIR = "/srv/probe/reports/runs"
USER = "10001"
ANY_CODE = range(256)


class CheckFailedError(Exception):
    """A check failed; the message says which."""


def output_of(command: Sequence[str], codes: Sequence[int] = (0,), env: Mapping[str, str] | None = None) -> str:
    """Return what a command prints. CheckFailedError if it ends with another exit code than these."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode not in codes:
        shown = f"{' '.join(command)}: exit code {done.returncode}"
        raise CheckFailedError(f"{shown}: {(done.stderr + done.stdout)[-800:]}")
    return done.stdout


def succeeds(*command: str) -> bool:
    """Return whether a command succeeds."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 180.0) -> Any:
    """Wait until a condition is true, and return its value. CheckFailedError after so many seconds, with the reason."""
    deadline, last = time.monotonic() + seconds, ""  # noqa: TID251 - a script outside the package
    while time.monotonic() < deadline:  # noqa: TID251 - a script outside the package
        try:
            if result := condition():
                return result
        except (CheckFailedError, http.client.HTTPException, OSError, ValueError) as error:
            last = f": {error}"
        time.sleep(0.5)
    raise CheckFailedError(f"timed out after {seconds:.0f} s waiting for {what}{last}")


def expect(what: str, actual: object, expected: object) -> None:
    """Print the actual value. CheckFailedError if it is not the expected one."""
    if actual != expected:
        raise CheckFailedError(f"{what}: {actual!r}, expected {expected!r}")
    print(f"  {what}: {actual!r}", flush=True)
