"""Load tests that answer how many concurrent users a self-hosted LLM server keeps served.

Locustfiles import from here: `from probe_ext import StreamingUser`; so do notebooks: `from probe_ext import load_run`.
The former load Locust, which monkey-patches the whole process, and the latter pandas, so all are imported on first
access; commands such as `probe report` never load Locust. `__init__.pyi` lists them for type checkers.
"""

from importlib import import_module

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
    "LoadedRun": "probe_ext.report.analysis.loaded_run",
    "load_run": "probe_ext.report.analysis.loaded_run",
}

__all__ = [
    "COLD",
    "WARM",
    "WARM_UP",
    "LoadedRun",
    "Prompt",
    "Reply",
    "StreamingUser",
    "WorkloadUser",
    "__version__",
    "events",
    "load_run",
]


def __getattr__(name: str) -> object:
    if name in _LAZY_IMPORTS:
        return getattr(import_module(_LAZY_IMPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
