"""Do a master and a worker fit each other? Looked at by both when they meet, each in its own words, before any load."""

from dataclasses import dataclass

from probe_ext.settings.secrets import API_KEY_VARIABLE


@dataclass(frozen=True)
class Side:
    """What one of them says of itself."""

    version: str
    key: bool
    """whether it has an API key; which one is nobody else's business"""


def refusal(master: Side, worker: Side) -> tuple[str, str] | None:
    """Why this worker cannot take part, for the worker's terminal and for the master's."""
    if worker.version != master.version:
        return (
            f"this worker is probe-ext {worker.version}, the master {master.version}: refused; both need the same",
            f"it runs probe-ext {worker.version}, this master {master.version}",
        )
    if master.key and not worker.key:
        return (
            f"the master has an API key, this worker has none: refused; set {API_KEY_VARIABLE} in its environment, too",
            f"it has no API key, this master has one; set {API_KEY_VARIABLE} in that worker's environment, too",
        )
    return None


def doubt(master: Side, worker: Side) -> tuple[str, str] | None:
    """What may come of it, likewise, where it may take part all the same."""
    if worker.key and not master.key:
        return (
            f"this worker has an API key, the master none: {API_KEY_VARIABLE} should be set on both or on neither",
            f"it has an API key, this master has none: {API_KEY_VARIABLE} should be set on both or on neither",
        )
    return None
