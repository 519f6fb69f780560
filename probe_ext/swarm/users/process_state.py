"""What one process of a swarm keeps for its users: the run's recorder, the options in force, what was prepared."""

from dataclasses import dataclass, field
from typing import Any

from locust.env import Environment

from probe_ext.settings.options import Options, read_options
from probe_ext.swarm.users.recorder import Recorder
from probe_ext.swarm.web.exporter import Exporter

PREPARED = "probe_prepared"
"""name under which the master's preparations travel to the workers, with Locust's own options"""


@dataclass
class ProcessState:
    """One process: a worker, a master (whose recorder stays empty), or a lone Locust."""

    environment: Environment
    worker: str
    recorder: Recorder = field(init=False)
    force_stop: bool = False
    """end without patience: somebody asked twice"""
    exporter: Exporter | None = None
    """our own figures for a Prometheus, where there is a web UI to show them"""

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.worker)

    def fresh_recorder(self) -> Recorder:
        """For a new run: nobody of the last one can count into it."""
        self.force_stop = False
        self.recorder = Recorder(self.worker)
        return self.recorder

    @property
    def options(self) -> Options:
        """As they are in force; on a worker, from a run's start on. SettingsError when one is wrong."""
        return read_options(vars(self.environment.parsed_options))

    @property
    def prepared(self) -> dict[str, Any]:
        """What the master found out before the run: `model`, and how long a prompt's words are in tokens."""
        found: dict[str, Any] = getattr(self.environment.parsed_options, PREPARED, None) or {}
        return found

    @prepared.setter
    def prepared(self, found: dict[str, Any]) -> None:
        setattr(self.environment.parsed_options, PREPARED, found)


def process_state_of(environment: Environment) -> ProcessState:
    """The process's node. TypeError where the package was imported after Locust had been set up."""
    node = getattr(environment, "probe_node", None)
    if not isinstance(node, ProcessState):
        raise TypeError("probe_ext must be imported by the locustfile, before Locust is set up")
    return node
