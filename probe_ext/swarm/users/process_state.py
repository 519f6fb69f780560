"""What one process of a swarm holds for its users: the run's recorder, the options, and the master's preparations."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from locust.env import Environment

from probe_ext.access.file_prompts.prompt_files import PromptFiles
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.settings.options import Options, read_options
from probe_ext.swarm.link import messages
from probe_ext.swarm.users.arrivals import Arrival, Arrivals
from probe_ext.swarm.users.recorder import Recorder, RequestInfo
from probe_ext.swarm.users.trace_replay import passes
from probe_ext.swarm.users.unsent import record_unsent
from probe_ext.workload.traces.replay_times import Pass
from probe_ext.workload.traces.trace_lines import TraceError

logger = logging.getLogger(__name__)

PREPARED = "probe_prepared"
"""attribute of Locust's options under which the master's preparations reach the workers"""
NO_USER = 0
"""number of the user in the row of an arrival that found no slot; users count from 1"""


@dataclass
class ProcessState:
    """The state of a worker, a master (whose recorder stays empty) or a single-process Locust."""

    environment: Environment
    worker: str
    recorder: Recorder = field(init=False)
    arrivals: Arrivals = field(init=False)
    """the open stream of a run with --rate"""
    force_stop: bool = False
    """abort replies in flight now: a second signal came"""
    on_reply: Callable[[ReplyRow], None] | None = None
    """called with every reply of the run, on the master"""
    places: dict[Any, Any] = field(default_factory=dict)
    """who has which place in a workload, by kind (`workload_user.py`); forgotten with the run"""
    prompt_files: PromptFiles = field(default_factory=PromptFiles)
    """the files that the users' prompts come from"""
    _options: Options | None = None
    _passes: tuple[Pass, ...] | None = None

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.worker)
        self.arrivals = Arrivals(self.recorder, self._record_unsent, self._replays)

    def reset_recorder(self) -> Recorder:
        """Start a new recorder, so that no reply of the last run counts in the next."""
        self.force_stop = False
        self.arrivals.stop()
        self.recorder = Recorder(self.worker)
        self.arrivals = Arrivals(self.recorder, self._record_unsent, self._replays)
        return self.recorder

    def _replays(self) -> tuple[Pass, ...]:
        """Return the replays of the run's trace; none if its file cannot be used any more, which ends the run."""
        if self._passes is None:
            try:
                self._passes = passes(self.prepared)
            except TraceError as error:
                logger.error("probe: %s; the run is ended", error)  # noqa: TRY400 -- one line is enough
                self._passes = ()
                self.environment.runner.send_message(messages.END, messages.PROMPTS_CHANGED)
        return self._passes

    def forget_run(self) -> None:
        """Forget what belongs to one run only."""
        self.places.clear()
        self.prompt_files.forget_queues()
        self._passes = None

    def _record_unsent(self, arrival: Arrival, outcome: Outcome, why: str) -> None:
        scenario = arrival.kind or str(self.prepared.get("scenario") or "")
        kind = "completion" if self.options.api == "completion" else "chat"
        info = RequestInfo(f"{self.worker}:{NO_USER}", scenario, kind)
        record_unsent(self.environment, self.recorder, info, arrival.due, arrival.number, (outcome, why))

    @property
    def options(self) -> Options:
        """The options of the current run."""
        return self._options or self.read_options()

    @options.setter
    def options(self, options: Options) -> None:
        self._options = options

    def read_options(self) -> Options:
        """Parse the options from Locust's, where a worker finds its master's. SettingsError if one is invalid.

        The content of a --body file replaces its name: workers on other machines do not have the file.
        """
        given = self.environment.parsed_options
        self._options = read_options(vars(given))
        if self._options.body is not None:
            given.body = self._options.body
        return self._options

    @property
    def prepared(self) -> dict[str, Any]:
        """What the master prepared: `model`, `scenario`, `prompts`, `workload`, `prompt_files`, `context` in tokens.

        `stream_kinds`: None where users wait for replies, else the kinds that arrivals are of, if several. `by_host`:
        by kind with a host of its own, its `host`, and what differs there.
        """
        prepared: dict[str, Any] = getattr(self.environment.parsed_options, PREPARED, None) or {}
        return prepared

    @prepared.setter
    def prepared(self, prepared: dict[str, Any]) -> None:
        self.forget_run()
        setattr(self.environment.parsed_options, PREPARED, prepared)

    def prepared_of(self, kind: str) -> dict[str, Any]:
        """Return what the master prepared for a kind of user, which may have a server of its own."""
        prepared = self.prepared
        return {**prepared, **(prepared.get("by_host") or {}).get(kind, {})}


def process_state_of(environment: Environment) -> ProcessState:
    """Return the state that was attached to the environment. TypeError if Locust was set up before our import."""
    state = getattr(environment, "probe_state", None)
    if not isinstance(state, ProcessState):
        raise TypeError("the locustfile must import probe_ext before Locust is set up")
    return state
