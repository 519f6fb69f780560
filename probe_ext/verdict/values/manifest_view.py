"""Reading a manifest that may lack anything, or hold something else than it should."""

import math
from collections.abc import Mapping
from typing import Any, overload


def workers(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The run's workers."""
    return mappings(manifest.get("workers"))


def absences(manifest: Mapping[str, Any]) -> list[tuple[float, float | None]]:
    """Between which seconds of the run a worker was not heard; None: it never came back."""
    return [span for worker in workers(manifest) for span in away(worker)]


def away(worker: Mapping[str, Any]) -> list[tuple[float, float | None]]:
    """The same of one worker."""
    spans = worker.get("away")
    pairs = [span for span in spans if isinstance(span, list) and len(span) == 2] if isinstance(spans, list) else []
    told = [(number({"t": a}, "t"), number({"t": b}, "t"), b) for a, b in pairs]
    return [(a, b) for a, b, raw in told if a is not None and (raw is None or b is not None)]


def servers(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The servers that were asked for their metrics."""
    return mappings(manifest.get("server"))


@overload
def number(mapping: Mapping[str, Any], key: str, default: float) -> float: ...
@overload
def number(mapping: Mapping[str, Any], key: str, default: None = None) -> float | None: ...
def number(mapping: Mapping[str, Any], key: str, default: float | None = None) -> float | None:
    """A finite number, or the default for anything else."""
    value = mapping.get(key)
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable and value is not None else default


def by_kernel(manifest: Mapping[str, Any]) -> bool | None:
    """Whether every worker's receive times are the kernel's; None where no worker says."""
    said = [str(w.get("receive_stamps")) for w in workers(manifest) if w.get("receive_stamps")]
    return all(stamps == "kernel" for stamps in said) if said else None


def mapping(value: Any) -> Mapping[str, Any]:
    """A group; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The groups in a list; nothing for anything else."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
