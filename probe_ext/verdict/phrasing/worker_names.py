"""Names of load generators in findings: ids are long and random, people know host names."""

from collections.abc import Mapping
from typing import Any

from probe_ext.verdict.evidence.manifest_view import workers

LONE = "the load generator"
_DISTRIBUTED_KEYS = ("left_at", "lost_at", "away")


def is_lone(manifest: Mapping[str, Any]) -> bool:
    """Tell whether one process made all the load. A worker that left or lost contact had a master, and is named."""
    known = workers(manifest)
    return len(known) == 1 and not any(known[0].get(key) for key in _DISTRIBUTED_KEYS)


def worker_name(manifest: Mapping[str, Any], worker: object) -> str:
    """Return `worker HOST`, `worker 2 on HOST` as numbered on the page, or `worker ID` if its host is not known."""
    known = workers(manifest)
    index = next((i for i, entry in enumerate(known) if str(entry.get("id")) == str(worker)), None)
    if index is None:
        return f"worker {worker}"
    if is_lone(manifest):
        return LONE
    host = known[index].get("host")
    if not host:
        return f"worker {worker}"
    only = sum(entry.get("host") == host for entry in known) == 1
    return f"worker {host}" if only else f"worker {index + 1} on {host}"
