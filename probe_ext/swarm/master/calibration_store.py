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
LIGHTEST = {"open_streams": 100.0, "tokens_per_second": 25 * SPEED}
"""what a calibration tries first: where a worker bore not even that, nothing is known of a plan that wants less"""
_NAMES = {"open_streams": "open streams", "tokens_per_second": "tokens/s, at {speed:g} for each of {users} users"}


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
    kept_up = _beyond(found, users, workers, "")
    if kept_up:
        return f"{kept_up} (probe calibrate)"
    delayed = _beyond(found, users, workers, "_on_time")
    right = "; times stay right by the kernel's" if found.get("receive_stamps") == "kernel" else ""
    return f"{delayed} (probe calibrate{right})" if delayed else None


def _beyond(found: dict[str, Any], users: int, workers: int, limit: str) -> str | None:
    """Where a plan is beyond one of the two limits: what it wants, what a worker bears, how many would bear it."""
    wants = {"open_streams": float(users), "tokens_per_second": users * SPEED}
    needed: dict[str, tuple[float, float]] = {}
    for what, wanted in wants.items():
        bears = found.get(f"{what}{limit}")
        if not isinstance(bears, (int, float)):
            continue
        if bears and wanted > bears * workers:
            needed[what] = (bears, math.ceil(wanted / bears))
        elif not bears and wanted >= LIGHTEST[what] * workers:
            needed[what] = (bears, math.inf)
    if not needed:
        return None
    what, (bears, would_do) = max(needed.items(), key=lambda item: item[1][1])
    asked = f"this plan may want {wants[what]:,.0f} {_NAMES[what].format(users=users, speed=SPEED)}"
    return f"{asked}; a worker of this machine {_bears(bears, LIGHTEST[what], limit)}: {_advice(would_do)}"


def _bears(bears: float, lightest: float, limit: str) -> str:
    if not bears:
        return f"{'was late with' if limit else 'did not keep up with'} {lightest:,.0f} already"
    return f"{'reads without delay up to' if limit else 'keeps up with'} {bears:,.0f}"


def _advice(workers: float) -> str:
    """By division; more than the machine has cores would only take turns there."""
    if workers == math.inf:
        return "run the workers on a machine with less to do"
    where = (
        f"--processes {workers}"
        if workers <= (os.cpu_count() or 1)
        else "on further machines: this one has no more cores"
    )
    return f"{workers} workers would do ({where})"
