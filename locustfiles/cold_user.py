"""How much longer is TTFT when the prompt is not in the prefix cache? Cold and warm prompts, mixed under one load.

probe run cold_user --host http://127.0.0.1:8000 --levels 8
probe run cold_user --host http://127.0.0.1:8000 --levels 8 --tags cold
locust -f locustfiles/cold_user.py --host http://127.0.0.1:8000
"""

from typing import Any

from locust import events, tag, task

from probe_ext import COLD, WARM, StreamingUser


@events.init_command_line_parser.add_listener
def _defaults(parser: Any, **_: Any) -> None:
    """A system prompt of about 2,000 characters, and a short question."""
    parser.set_defaults(input_tokens="500", shared_prefix_tokens="450", max_tokens="64")


class ColdOrWarmUser(StreamingUser):
    """Each request is cold or warm at random, so that both kinds meet the same queue. Prompts have the same length."""

    @tag(COLD)
    @task
    def cold(self) -> None:
        """The unique part comes first: nothing of the prompt can be cached."""
        self.llm.ask(self.prompts.next(own_first=True), name=COLD)

    @tag(WARM)
    @task
    def warm(self) -> None:
        """The shared part comes first."""
        self.llm.ask(self.prompts.next(), name=WARM)
