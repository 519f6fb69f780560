"""A single user: three warm-up replies, ten measured ones, then the run ends by itself.

probe run baseline --host http://127.0.0.1:8000
locust -f locustfiles/baseline.py --host http://127.0.0.1:8000 --headless
"""

from locust import task

from probe_ext import WARM_UP, StreamingUser

WARM_UP_REPLIES = 3
MEASURED_REPLIES = 10


class BaselineUser(StreamingUser):
    """Replies named WARM_UP are recorded, but not judged."""

    ends_itself = True
    fixed_count = 1

    @task
    def measure(self) -> None:
        """Run the baseline."""
        for _ in range(WARM_UP_REPLIES):
            self.llm.ask(self.prompts.next(), name=WARM_UP)
            self.wait()
        for _ in range(MEASURED_REPLIES):
            self.llm.ask(self.prompts.next())
            self.wait()
        self.end_run()
