"""Can this worker take part? Master and worker both check when they meet, before any load, each for its own log."""

from dataclasses import dataclass

from probe_ext.settings.secrets import API_KEY_VARIABLE
from probe_ext.verdict.phrasing.plurals import is_or_are, listed

_COPY_FILES = "each worker needs its own copy of the master's prompt files, at the same path"


@dataclass(frozen=True)
class Side:
    """What master and worker tell each other of themselves."""

    version: str
    has_key: bool
    """whether it has an API key; the key itself is never sent"""
    missing: tuple[str, ...] = ()
    """variables of --header-env that its environment lacks"""
    file_problems: tuple[str, ...] = ()
    """why its prompt files are not the master's, one line each"""


def refusal(master: Side, worker: Side) -> tuple[str, str] | None:
    """Return why the worker cannot take part, in a sentence for the worker and one for the master."""
    if worker.version != master.version:
        return (
            f"refused: this worker runs probe-ext {worker.version}, the master {master.version}; use the same version",
            f"it runs probe-ext {worker.version}, this master {master.version}",
        )
    if master.has_key and not worker.has_key:
        return (
            f"refused: the master has an API key, this worker has none; set {API_KEY_VARIABLE} in its environment",
            f"it has no API key, this master has one; set {API_KEY_VARIABLE} in the worker's environment",
        )
    if worker.missing:
        named = listed(sorted(worker.missing))
        are = is_or_are(len(worker.missing))
        return (
            f"refused: {named} {are} not set in this worker's environment; the master's --header-env needs it",
            f"{named} {are} not set in the worker's environment; --header-env needs it",
        )
    if worker.file_problems:
        return f"refused: {worker.file_problems[0]}; {_COPY_FILES}", f"{worker.file_problems[0]}; {_COPY_FILES}"
    return None


def doubt(master: Side, worker: Side) -> tuple[str, str] | None:
    """Return a warning, likewise, for a worker that can take part."""
    if worker.has_key and not master.has_key:
        return (
            f"this worker has an API key, the master has none: set {API_KEY_VARIABLE} on both or on neither",
            f"it has an API key, this master has none: set {API_KEY_VARIABLE} on both or on neither",
        )
    return None
