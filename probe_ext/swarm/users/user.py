"""The user class that locustfiles build on."""

from typing import Any, NoReturn

import gevent
from locust import User

from probe_ext.settings.options import Options
from probe_ext.swarm.link import messages
from probe_ext.swarm.users.llm import Llm
from probe_ext.swarm.users.process_state import process_state_of
from probe_ext.swarm.users.prompt_source import prompts_for

_ASK_AGAIN = 5.0
"""seconds after which a user asks again for the run's end: the first word may have been lost"""


class StreamingUser(User):
    """A simulated person who talks to the server under test.

    `self.llm` asks and measures; `self.prompts` yields prompts of the length asked for, never the same twice;
    `self.options` are the package's options. A subclass adds tasks, and a wait time if its people think.
    """

    abstract = True
    scenario: str | None = None
    """line in Locust's table and `scenario` of the rows; default: the locustfile's name"""
    ends_itself = False
    """whether its task quits the runner; then `probe run` gives it no levels of its own"""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        process = process_state_of(self.environment)
        self.options: Options = process.options
        name = self.scenario or str(process.prepared.get("scenario") or type(self).__name__)
        model = str(process.prepared.get("model") or self.options.model or "")
        self.llm = Llm(self.environment, process.recorder, self.options, model, name)
        index = getattr(self.environment.runner, "worker_index", 0)
        self.prompts = prompts_for(process.prepared.get("prompts") or {}, self.options, index, process.recorder.users)

    def end_run(self) -> NoReturn:
        """End the whole run from a task, then wait to be taken away."""
        runner = self.environment.runner
        while True:
            runner.send_message(messages.END)  # a lone Locust's runner calls itself
            gevent.sleep(_ASK_AGAIN)

    def on_stop(self) -> None:
        """Hang up."""
        self.llm.close()
