"""How many users at once? Each asks again as soon as a reply has ended; sweep over --levels, or set users by hand.

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
