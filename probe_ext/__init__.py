"""Load tests that answer how many concurrent users a self-hosted LLM server keeps served.

Locustfiles import from here: `from probe_ext import StreamingUser`. These names load Locust, which monkey-patches the
whole process, so they are imported on first access; commands such as `probe report` never load it. `__init__.pyi` lists
them for type checkers.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY_IMPORTS = {
    "COLD": "probe_ext.measure.table_rows",
    "WARM": "probe_ext.measure.table_rows",
    "WARM_UP": "probe_ext.measure.table_rows",
    "Prompt": "probe_ext.prompts.prompt",
    "Reply": "probe_ext.client.reply",
    "StreamingUser": "probe_ext.swarm.locustfile_api",
    "WorkloadUser": "probe_ext.swarm.locustfile_api",
    "events": "probe_ext.swarm.locustfile_api",
}

__all__ = ["COLD", "WARM", "WARM_UP", "Prompt", "Reply", "StreamingUser", "WorkloadUser", "__version__", "events"]


def __getattr__(name: str) -> Any:
    if name in _LAZY_IMPORTS:
        return getattr(import_module(_LAZY_IMPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
