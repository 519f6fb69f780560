"""Reading a manifest in which any key may be missing or have the wrong type."""

import math
from collections.abc import Mapping
from typing import Any, Literal, overload

from probe_ext.measure.rate import Rate

Span = tuple[float, float | None]
"""Seconds of the run; None: to its end."""
MAX_CRITICAL = 10.0
"""Standard errors: a manifest that asks for less than one or more than this is damaged."""


def workers(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the run's workers."""
    return mappings(manifest.get("workers"))


def absences(manifest: Mapping[str, Any]) -> list[Span]:
    """Return the spans in which the master had no contact with some worker."""
    return [span for worker in workers(manifest) for span in away(worker)]


def away(worker: Mapping[str, Any]) -> list[Span]:
    """Return the spans in which the master had no contact with this worker."""
    spans = worker.get("away")
    pairs = [span for span in spans if isinstance(span, list) and len(span) == 2] if isinstance(spans, list) else []
    parsed = [(_finite(start), _finite(end), end) for start, end in pairs]
    return [(start, end) for start, end, raw in parsed if start is not None and (raw is None or end is not None)]


def servers(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the servers whose metrics were requested."""
    return mappings(manifest.get("server"))


def calibration(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what `probe calibrate` measured on the master's machine."""
    return mapping(manifest.get("calibration"))


@overload
def number(mapping: Mapping[str, Any], key: str, default: float) -> float: ...
@overload
def number(mapping: Mapping[str, Any], key: str, default: None = None) -> float | None: ...
def number(mapping: Mapping[str, Any], key: str, default: float | None = None) -> float | None:
    """Return a finite number, or the default for anything else."""
    value = _finite(mapping.get(key))
    return default if value is None else value


def _finite(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]


def by_kernel(manifest: Mapping[str, Any]) -> bool | None:
    """Tell whether all workers took receive times from the kernel; None where no worker says."""
    stamps = [str(w.get("receive_stamps")) for w in workers(manifest) if w.get("receive_stamps")]
    return all(stamp == "kernel" for stamp in stamps) if stamps else None


def planned_levels(plan: Mapping[str, Any] | None) -> list[int]:
    """Return the numbers of users, or the rates, that a plan holds; none where nothing was planned."""
    content = mapping(plan)
    rates, users = content.get("rates"), content.get("levels")
    if isinstance(rates, (list, tuple)) and rates:
        return [Rate.of(rate) for rate in map(_finite, rates) if rate is not None]
    return [n for n in users if isinstance(n, int)] if isinstance(users, (list, tuple)) else []


def search_of(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the run's search did; empty where the run decided nothing by itself."""
    return mapping(mapping(manifest.get("plan")).get("search"))


def critical_of(manifest: Mapping[str, Any]) -> float | None:
    """Return the standard errors that a proof of the run's search takes; None where it was none, or says nonsense."""
    critical = number(search_of(manifest), "critical")
    return critical if critical is not None and 1 <= critical <= MAX_CRITICAL else None


def who_uses(workload: object) -> Literal["people", "agents"]:
    """Return what the users of a run are called, by its workload: people, unless all of its kinds are agents."""
    kinds = mappings(mapping(workload).get("kinds"))
    return "agents" if kinds and all(kind.get("agent") for kind in kinds) else "people"


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """Return the mappings in a list; an empty list for anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, (list, tuple)) else []
