"""Memory and CPU time of processes, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Resource usage of a process."""

    rss: float
    """Resident memory in MiB."""
    cpu: float
    """User and system time in seconds."""


def usage(pid: int) -> Usage | None:
    """Return the usage of a process; None if it has exited."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        cpu = cpu_seconds(pid)
    except OSError:
        return None
    resident = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")), None)
    if resident is None:
        return None
    return Usage(int(resident) / 1024, cpu)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far. OSError if it has exited."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    """Return the pids of a process's children, oldest first."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
