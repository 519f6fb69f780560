"""What findings call a load generator: ids are long and random, people know machines."""

from collections.abc import Mapping
from typing import Any

from probe_ext.verdict.values.manifest_view import workers

LONE = "the load generator"
_OF_A_WORKER = ("left_at", "lost_at", "away")


def is_lone(manifest: Mapping[str, Any]) -> bool:
    """Whether one process made all the load. One that left or was not heard had a master, and is named."""
    known = workers(manifest)
    return len(known) == 1 and not any(known[0].get(key) for key in _OF_A_WORKER)


def worker_name(manifest: Mapping[str, Any], worker: object) -> str:
    """`worker HOST`; of several on one host with the number that the page lists it under; without a host, its id."""
    known = workers(manifest)
    place = next((n for n, one in enumerate(known) if str(one.get("id")) == str(worker)), None)
    if place is None:
        return f"worker {worker}"
    if is_lone(manifest):
        return LONE
    host = known[place].get("host")
    if not host:
        return f"worker {worker}"
    alone = sum(one.get("host") == host for one in known) == 1
    return f"worker {host}" if alone else f"worker {place + 1} on {host}"
