"""When is the KV cache full? Long prompts and a growing number of users; the report shows KV usage and preemptions.

probe run memory_wall --host http://127.0.0.1:8000 --levels 4,8,16,24,32
probe run memory_wall --host http://127.0.0.1:8000 --levels 4,8,16,24,32 --shared-prefix-tokens 0
locust -f locustfiles/memory_wall.py --host http://127.0.0.1:8000
"""

from typing import Any

from locust import events, task

from probe_ext import StreamingUser


@events.init_command_line_parser.add_listener
def _defaults(parser: Any, **_: Any) -> None:
    """Most of each prompt is shared, like one long system prompt; with 0 shared tokens, each prompt fills the cache."""
    parser.set_defaults(input_tokens="2000", shared_prefix_tokens="1900", max_tokens="500")


class WallUser(StreamingUser):
    """Sends a request, reads the whole reply, sends the next."""

    @task
    def ask(self) -> None:
        """A prompt of --input-tokens, of which the first --shared-prefix-tokens are shared by all."""
        self.llm.ask(self.prompts.next())
