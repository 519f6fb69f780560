"""How many users at once? A sweep over --levels, or a ramp by hand; every prompt is new.

probe run capacity --host http://127.0.0.1:8000 --levels 1,2,4,8
locust -f locustfiles/capacity.py --host http://127.0.0.1:8000
"""

from locust import task

from probe_ext import StreamingUser


class CapacityUser(StreamingUser):
    """Asks, reads the whole reply, asks again."""

    @task
    def ask(self) -> None:
        """One question of --input-tokens tokens, a reply of at most --max-tokens."""
        self.llm.ask(self.prompts.next())
