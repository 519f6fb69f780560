"""One user, alone with the server: ten replies kept after three to warm up, then it ends by itself.

probe run baseline --host http://127.0.0.1:8000
locust -f locustfiles/baseline.py --host http://127.0.0.1:8000 --headless
"""

from locust import task

from probe_ext import WARM_UP, StreamingUser

WARMING = 3
KEPT = 10


class BaselineUser(StreamingUser):
    """Replies named WARM_UP are recorded too, and left out of the judgement."""

    ends_itself = True
    fixed_count = 1

    @task
    def measure(self) -> None:
        """The whole baseline."""
        for _ in range(WARMING):
            self.llm.ask(self.prompts.next(), name=WARM_UP)
        for _ in range(KEPT):
            self.llm.ask(self.prompts.next())
        self.end_run()
