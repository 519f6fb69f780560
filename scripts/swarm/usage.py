"""What a process costs, from /proc: resident memory and CPU time."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """One look at one process."""

    rss: float
    """MiB that are resident"""
    cpu: float
    """seconds of user and system time so far"""


def usage(pid: int) -> Usage | None:
    """None once it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    resident = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")), None)
    if resident is None:
        return None
    return Usage(int(resident) / 1024, (int(stat[11]) + int(stat[12])) / _TICKS)


def children(pid: int) -> list[int]:
    """The processes that it started itself, oldest first."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
