"""When does the KV cache run full? Long prompts and more and more users; the page shows KV use and preemptions.

probe run memory_wall --host http://127.0.0.1:8000 --levels 4,8,16,24,32
probe run memory_wall --host http://127.0.0.1:8000 --levels 4,8,16,24,32 --shared-prefix-tokens 0
locust -f locustfiles/memory_wall.py --host http://127.0.0.1:8000
"""

from typing import Any

from locust import events, task

from probe_ext import StreamingUser


@events.init_command_line_parser.add_listener
def _defaults(parser: Any, **_: Any) -> None:
    """Prompts that nearly all share, as with one long system prompt; with 0 shared tokens, each fills its own."""
    parser.set_defaults(input_tokens="2000", shared_prefix_tokens="1900", max_tokens="500")


class WallUser(StreamingUser):
    """Asks, reads the whole reply, asks again."""

    @task
    def ask(self) -> None:
        """A question of --input-tokens tokens, of which all share the first --shared-prefix-tokens."""
        self.llm.ask(self.prompts.next())
