"""The user class for locustfiles."""

from typing import Any, NoReturn

import gevent
from locust import User

from probe_ext.access.prompt_source import prompts_for, user_number
from probe_ext.client.api.request_form import RequestForm
from probe_ext.settings.options import Options
from probe_ext.swarm.link import messages
from probe_ext.swarm.users.arrivals import Slot
from probe_ext.swarm.users.llm import Llm
from probe_ext.swarm.users.process_state import ProcessState, process_state_of
from probe_ext.workload.think_times import ThinkTimes

_REPEAT_AFTER_S = 5.0  # the message may have been lost


def _no_pause() -> float:
    return 0.0


class StreamingUser(User):
    """A simulated user of the server under test.

    `self.llm` sends requests and measures replies; `self.prompts` makes different prompts of the configured length;
    `self.options` are the package's options. A subclass adds tasks, and a `wait_time` of its own unless users pause by
    --think-time.
    """

    abstract = True
    scenario: str | None = None
    """row in Locust's statistics, and `scenario` in ours; default: the locustfile's name"""
    ends_itself = False
    """set if a task calls `end_run`; `probe run` then applies no default levels"""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        process = process_state_of(self.environment)
        self.options, prepared = self.options_of(process), process.prepared_of(self.scenario or "")
        name = self.scenario or str(prepared.get("scenario") or type(self).__name__)
        model = str(prepared.get("model") or self.options.model or "")
        form = RequestForm.from_dict(prepared["form"]) if prepared.get("form") else None
        kinds = prepared.get("stream_kinds")
        source = None if kinds is None else Slot(process.arrivals, name if kinds else "").take
        if source is not None:
            # A slot of an open stream: the schedule says when, and not the user, whatever its class defines.
            setattr(self, "wait_time", _no_pause)  # noqa: B010 -- typed as the method of a class
        host = prepared.get("host")
        self.llm = Llm(self.environment, process.recorder, self.options, model, name, form, source, host=host)
        place = getattr(self.environment.runner, "worker_index", 0), process.recorder.users
        prompts = prepared.get("prompts") or {}
        self.prompts = prompts_for(prompts, self.options, *place)
        self._think_times = ThinkTimes(self.options.think_time, prompts.get("seed", 0), user_number(*place))

    def options_of(self, process: ProcessState) -> Options:
        """Return the options that this user's requests follow."""
        return process.options

    def wait_time(self) -> float:
        """Return the pause after a task in seconds, by --think-time."""
        return self._think_times.next()

    def on_start(self) -> None:
        """Join in the middle of a pause: people don't all begin at once."""
        if self.options.think_time:
            gevent.sleep(self.wait_time())

    def end_run(self) -> NoReturn:
        """End the whole run from a task. Does not return: Locust kills the user."""
        self._end_run(None)

    def _end_run(self, why: str | None) -> NoReturn:
        runner = self.environment.runner
        while True:
            runner.send_message(messages.END, why)  # without workers, the runner calls its own listener
            gevent.sleep(_REPEAT_AFTER_S)

    def on_stop(self) -> None:
        """Close the connection."""
        self.llm.close()
