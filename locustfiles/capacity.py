"""How many users at once? Sweep over --levels, or set users by hand; every prompt is different.

probe run capacity --host http://127.0.0.1:8000 --levels 1,2,4,8
locust -f locustfiles/capacity.py --host http://127.0.0.1:8000
"""

from locust import task

from probe_ext import StreamingUser


class CapacityUser(StreamingUser):
    """Sends a request, reads the whole reply, sends the next."""

    @task
    def ask(self) -> None:
        """A prompt of --input-tokens, a reply of at most --max-tokens."""
        self.llm.ask(self.prompts.next())
