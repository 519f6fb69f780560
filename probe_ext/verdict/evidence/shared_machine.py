"""Did the load generator run on the server's machine?"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from probe_ext.loopback import is_loopback
from probe_ext.verdict.evidence.manifest_view import workers


def server_address(manifest: Mapping[str, Any]) -> str:
    """Return the host name or address under which the server was reached; empty where it is not known."""
    target = manifest.get("target")
    try:
        return (urlsplit(str(target.get("host") or "")).hostname or "").lower() if isinstance(target, Mapping) else ""
    except ValueError:
        return ""


def shares_machine(manifest: Mapping[str, Any]) -> bool:
    """Tell whether the server was reached under an address of the load generator's own machine, or by its name."""
    host = server_address(manifest)
    ours = {str(worker.get("host") or "").lower() for worker in workers(manifest)} - {""}
    return bool(host) and (is_loopback(host) or host in ours)
