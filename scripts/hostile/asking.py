"""A locustfile whose users ask the hostile server for each trick in turn, and name the request after it."""

import os
import uuid

from locust import constant_pacing, task

from probe_ext import StreamingUser
from scripts.hostile.tricks import TRICKS

_TRICKS = list(TRICKS)


class AskingUser(StreamingUser):
    """Asks for one trick after the other, starting anywhere."""

    wait_time = constant_pacing(float(os.environ.get("PROBE_THINK", "4")))

    def on_start(self) -> None:
        self._next = uuid.uuid4().int

    @task
    def ask(self) -> None:
        """Ask for the next trick."""
        trick = _TRICKS[self._next % len(_TRICKS)]
        self._next += 1
        self.llm.chat(f"trick={trick} id={uuid.uuid4().hex}", name=trick)
