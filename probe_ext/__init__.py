"""How many people at once does a self-hosted LLM server keep feeling served?

A locustfile imports from here: `from probe_ext import StreamingUser`. The names below load Locust, which patches the
whole process; so they are looked up when asked for, and a report never meets them.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_FROM = {
    "StreamingUser": "probe_ext.swarm.locustfile_api",
    "COLD": "probe_ext.measure.table_rows",
    "WARM": "probe_ext.measure.table_rows",
    "WARM_UP": "probe_ext.measure.table_rows",
    "events": "probe_ext.swarm.locustfile_api",
}

__all__ = ["COLD", "WARM", "WARM_UP", "StreamingUser", "__version__", "events"]


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
