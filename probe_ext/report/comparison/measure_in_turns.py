"""Measure two servers in turns, so that whatever drifts slowly hits both alike.

A round is A, B, B, A: a change that is linear in time then cancels, and the difference between the two runs of one
server tells how large it is, as part of the noise. Rounds go on until it can be told which server serves more people,
or further rounds would not tell, but at most MAX_ROUNDS. Each look takes its part of the error.

One server before and after a switch is measured A, A, switch, B, B: drift doesn't cancel then.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from probe_ext.compare.values import Comparison
from probe_ext.exit_codes import ExitCode
from probe_ext.settings.errors import SettingsError

MAX_ROUNDS = 3
ORDER = (0, 1, 1, 0)
WARM_UP_ATTEMPTS = 60
"""of `probe warmup` after a switch, each of which waits some seconds for the server"""

Measure = Callable[[str, Path], int]
"""Measure a server and write its run; returns the exit code."""
Compare = Callable[[Sequence[Sequence[Path]], int], Comparison]
"""Compare the runs of both servers, by the number of looks that share the error."""


class MeasurementError(Exception):
    """A run could not be made; `code` is its exit code, and it has said why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Turns:
    """The runs made so far, by server."""

    hosts: Sequence[str]
    out: Path
    measure: Measure
    tell: Callable[[str], None]
    runs: list[list[Path]] = field(default_factory=lambda: [[], []])

    def take(self, which: int) -> None:
        """Make one run of a server. MeasurementError if it could not be made."""
        name = "ab"[which]
        run = self.out / f"{name}-{len(self.runs[which]) + 1}"
        self.tell(f"measuring {name.upper()}, {self.hosts[which]}: {run}")
        checked(self.measure)(self.hosts[which], run)
        self.runs[which].append(run)


def checked(measure: Measure) -> Callable[[str, Path], None]:
    """Return what measures a server, or raises MeasurementError if the run could not be made."""

    def measured(host: str, out: Path) -> None:
        code = measure(host, out)
        if code not in {ExitCode.OK, ExitCode.GATE, ExitCode.INVALID}:
            raise MeasurementError(code)

    return measured


def in_turns(turns: Turns, compare: Compare) -> Comparison:
    """Measure two servers until it can be told. MeasurementError if a run could not be made."""
    for number in range(1, MAX_ROUNDS + 1):
        for which in ORDER:
            turns.take(which)
        comparison = compare(turns.runs, MAX_ROUNDS)
        if number == MAX_ROUNDS or not _worth_going_on(comparison):
            break
        turns.tell(f"round {number} of at most {MAX_ROUNDS}: {comparison.sentence}")
    return comparison


def _worth_going_on(comparison: Comparison) -> bool:
    """Return whether more of the same may tell which server serves more people."""
    capacity = [row for row in comparison.rows if row.quantity == "capacity"]
    return any(row.outcome == "cannot_tell" and row.minutes_more is not None for row in capacity)


def before_and_after(turns: Turns, switch: str, compare: Compare) -> Comparison:
    """Measure one server twice, switch it over, and measure it twice again. SettingsError if the switch fails."""
    for _ in range(2):
        turns.take(0)
    turns.tell(f"switching: {switch}")
    done = subprocess.run(switch, shell=True, check=False)  # noqa: S602 (the user's own command)
    if done.returncode:
        raise SettingsError(f"--between {switch}: ended with exit code {done.returncode}")
    _wait_until_warm(turns.hosts[1])
    for _ in range(2):
        turns.take(1)
    return compare(turns.runs, 1)


def _wait_until_warm(host: str) -> None:
    """Wait for a server that was restarted. SettingsError if it doesn't come back."""
    for _ in range(WARM_UP_ATTEMPTS):
        command = [sys.executable, "-m", "probe_ext", "warmup", host]
        if subprocess.run(command, capture_output=True, check=False).returncode == ExitCode.OK:  # noqa: S603
            return
    raise SettingsError(f"--between: {host} did not answer after the command")


def run_by_probe(scenario: str, options: Sequence[str]) -> Measure:
    """Return what measures a server by `probe run`, in a process of its own."""

    def measure(host: str, out: Path) -> int:
        command = [sys.executable, "-m", "probe_ext", "run", scenario, "--host", host, "--out", str(out), *options]
        return subprocess.run(command, stdout=sys.stderr, check=False).returncode  # noqa: S603 (our own module)

    return measure
