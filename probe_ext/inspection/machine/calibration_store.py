"""The calibration of this machine, as `probe calibrate` measured it: saved, loaded, and compared with a plan."""

import hashlib
import json
import math
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from probe_ext import __version__
from probe_ext.client.wire.native.native_extension import reading_path
from probe_ext.run.manifest import replace_text
from probe_ext.verdict.phrasing.plurals import things

ASSUMED_TOKEN_RATE = 50.0  # tokens/s per user, which nobody knows before the run
LIGHTEST = {"open_streams": 100.0, "tokens_per_second": 25 * ASSUMED_TOKEN_RATE}
"""the first loads of a calibration: if a worker fails even these, nothing is known of plans that need less"""
OF_TARGET = "limits_of_target"
"""key of the names of limits beyond which the calibration's own server fell behind; None: of none"""
_UNITS = {"open_streams": "open streams", "tokens_per_second": "tokens/s, at {rate:g} for each of {users} users"}


def key() -> dict[str, str]:
    """Return what a calibration is valid for: this machine, these versions, and what reads the sockets."""
    return {
        "machine": platform.node(),
        "processor": f"{_processor()}, {things(os.cpu_count() or 1, 'core')}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "probe_ext": __version__,
        "locust": version("locust"),
        "gevent": version("gevent"),
        "reading_path": reading_path().partition(":")[0],  # without the reason, which does not change the limits
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())


def place() -> Path:
    """Return the file for what `key` says, in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    name = hashlib.sha256(json.dumps(key(), sort_keys=True).encode()).hexdigest()[:16]
    return Path(base) / "probe-ext" / f"floor-{name}.json"


def save(calibration: dict[str, Any]) -> Path:
    """Save a calibration, and return its file. OSError if the cache is not writable."""
    path = place()
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(calibration, indent=1) + "\n")
    return path


def load() -> dict[str, Any] | None:
    """Return the calibration for what `key` says; None if there is no readable one."""
    try:
        calibration = json.loads(place().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home directory
        return None
    return calibration if isinstance(calibration, dict) else None


def shortage(calibration: dict[str, Any] | None, users: int, workers: int) -> str | None:
    """Return in one line why a plan is more than these workers can measure; None if it is not, or nobody knows."""
    if not calibration:
        return None
    why = _shortage(calibration, users, workers, "")
    if why:
        return f"{why} (probe calibrate)"
    why = _shortage(calibration, users, workers, "_on_time")
    stamped = calibration.get("receive_stamps") == "kernel"
    return f"{why} (probe calibrate{'; kernel timestamps keep times accurate' if stamped else ''})" if why else None


def _shortage(calibration: dict[str, Any], users: int, workers: int, suffix: str) -> str | None:
    """Compare with the limits of keeping up (no suffix), or of reading without delay."""
    needs = {"open_streams": float(users), "tokens_per_second": users * ASSUMED_TOKEN_RATE}
    short: dict[str, tuple[float, float]] = {}
    """limit of a worker, and workers needed"""
    for what, need in needs.items():
        limit = calibration.get(f"{what}{suffix}")
        if not isinstance(limit, (int, float)):
            continue
        if limit and need > limit * workers:
            short[what] = (limit, math.ceil(need / limit))
        elif not limit and need >= LIGHTEST[what] * workers:
            short[what] = (limit, math.inf)
    if not short:
        return None
    what, (limit, workers_needed) = max(short.items(), key=lambda item: item[1][1])
    need_text = f"{needs[what]:,.0f} {_UNITS[what].format(users=users, rate=ASSUMED_TOKEN_RATE)}"
    of_target = not suffix and is_of_target(calibration, what)
    worker = _worker(limit, LIGHTEST[what], delayed=bool(suffix), of_target=of_target)
    return f"this plan may need {need_text}; a worker on this machine {worker}: {_advice(workers_needed)}"


def is_of_target(calibration: dict[str, Any], limit: str) -> bool:
    """Tell whether the calibration's own server set this limit, so that the worker may have none there."""
    return limit in str(calibration.get(OF_TARGET) or "").split(", ")


def _worker(limit: float, lightest: float, *, delayed: bool, of_target: bool) -> str:
    if of_target:
        return f"was measured only up to {limit:,.0f}, where the calibration's own server fell behind"
    if not limit:
        return f"{'delayed' if delayed else 'did not keep up with'} even {lightest:,.0f}"
    return f"{'reads without delay up to' if delayed else 'keeps up with'} {limit:,.0f}"


def _advice(workers: float) -> str:
    if workers == math.inf:
        return "run the workers on a less busy machine"
    enough = things(int(workers), "worker")
    if workers <= (os.cpu_count() or 1):
        return f"use {enough} (--processes {workers})"
    return f"use {enough} on several machines, as this one has too few cores"
