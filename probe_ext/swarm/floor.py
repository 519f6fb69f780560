"""What the ruler can do on this machine, as `probe calibrate` found it: kept, read again, and held against a plan."""

import hashlib
import json
import math
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from probe_ext import __version__
from probe_ext.run.manifest import replace_text

SPEED = 50.0
"""tokens a second that a plan's users are taken to get: before a run nobody knows"""


def key() -> dict[str, str]:
    """What a calibration holds for: this machine, and these versions."""
    return {
        "machine": platform.node(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "probe_ext": __version__,
        "locust": version("locust"),
        "gevent": version("gevent"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())


def place() -> Path:
    """The file for this machine and these versions, in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    name = hashlib.sha256(json.dumps(key(), sort_keys=True).encode()).hexdigest()[:16]
    return Path(base) / "probe-ext" / f"floor-{name}.json"


def save(found: dict[str, Any]) -> Path:
    """Keep a calibration. OSError where the cache cannot be written."""
    path = place()
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(found, indent=1) + "\n")
    return path


def load() -> dict[str, Any] | None:
    """The calibration of this machine and these versions; None where there is none that can be read."""
    try:
        found = json.loads(place().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home directory
        return None
    return found if isinstance(found, dict) else None


def shortage(found: dict[str, Any] | None, users: int, workers: int) -> str | None:
    """Why a plan is more than these workers can measure, in one line; None where it is not, or nobody knows."""
    if not found:
        return None
    return _beyond(found, users, workers, "", "keeps up with {most:,.0f} (probe calibrate)") or _beyond(
        found, users, workers, "_on_time", f"reads within 1 ms up to {{most:,.0f}} (probe calibrate{_still(found)})"
    )


def _still(found: dict[str, Any]) -> str:
    """What is not spoilt by late reads."""
    return "; times stay right beyond it" if found.get("receive_stamps") == "kernel" else ""


def _beyond(found: dict[str, Any], users: int, workers: int, limit: str, bears: str) -> str | None:
    """The same for one of the two limits; `bears` says what a worker does up to `most`."""
    wants = {
        "open streams": (users, found.get(f"open_streams{limit}")),
        f"tokens/s, at {SPEED:g} for each of {users} users": (users * SPEED, found.get(f"tokens_per_second{limit}")),
    }
    needed = {
        what: (wanted, most, math.ceil(wanted / most))
        for what, (wanted, most) in wants.items()
        if isinstance(most, (int, float)) and most > 0 and wanted > most * workers
    }
    if not needed:
        return None
    what, (wanted, most, would_do) = max(needed.items(), key=lambda item: item[1][2])
    return (
        f"this plan may want {wanted:,.0f} {what}; a worker of this machine {bears.format(most=most)}: "
        f"{would_do} workers would do (--processes {would_do}, or further machines)"
    )
