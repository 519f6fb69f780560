"""How much of the machine a measurement had: what others used before it, what the hypervisor took during it."""

import time
from collections.abc import Callable
from pathlib import Path

_LOOK_S = 5.0
_IDLE, _IOWAIT, _STEAL = 3, 4, 7
"""columns of /proc/stat"""
_COLUMNS = 8
"""those that follow count guests a second time"""


def _ticks() -> list[int]:
    """Return the clock ticks of all cores together, by what they were used for."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1 : _COLUMNS + 1]]


def watch() -> Callable[[], str]:
    """Look for some seconds at what others use; return a function that says it, after the measurement."""
    before = _ticks()
    time.sleep(_LOOK_S)
    start = _ticks()
    looked = [b - a for a, b in zip(before, start, strict=True)]
    used = 1 - (looked[_IDLE] + looked[_IOWAIT]) / sum(looked)

    def say() -> str:
        during = [b - a for a, b in zip(start, _ticks(), strict=True)]
        taken = during[_STEAL] / sum(during)
        before_it = f"In the {_LOOK_S:g} s before, {used:.1%} of the CPU was in use"
        return f"{before_it}; during it, the hypervisor took {taken:.1%}."

    return say
