"""A locustfile whose users send requests without think time, and which logs every token's measured and true time.

BENCH_TOKEN_LOG is the file for the log; BENCH_NO_TIMESTAMPS=1 disables the kernel's receive timestamps.
"""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
from locust import events as locust_events
from locust import task

import probe_ext.client.wire.kernel_receive
from probe_ext import StreamingUser
from probe_ext.swarm.users import events

THINK_S = float(os.environ.get("BENCH_THINK_S", "0"))
TOKEN_LOG = os.environ.get("BENCH_TOKEN_LOG")
STAGES = os.environ.get("BENCH_STAGES")
_logged: list[tuple[float, list[float], str]] = []

if os.environ.get("BENCH_NO_TIMESTAMPS"):
    probe_ext.client.wire.kernel_receive.enable_timestamps = lambda _socket: False


class BenchUser(StreamingUser):
    """Sends requests without think time, or thinks for BENCH_THINK_S seconds on average."""

    def wait_time(self) -> float:
        """Return how long to think, in seconds."""
        return random.expovariate(1 / THINK_S) if THINK_S else 0.0

    @task
    def ask(self) -> None:
        """Send one request."""
        self.llm.ask(self.prompts.next())


def _log(reply: Any, **_: Any) -> None:
    """Keep the reply; it is parsed after the run, to save CPU during it."""
    if reply.choices and reply.marks.sent is not None:
        choice = reply.choices[0]
        _logged.append((reply.marks.sent, choice.events.at, "".join(choice.text)))


def _write(**_: Any) -> None:
    replies = [(sent, at, text.split()) for sent, at, text in _logged]
    complete = [(sent, at, words) for sent, at, words in replies if len(at) == len(words)]
    np.savez(
        str(TOKEN_LOG),
        sent=np.array([sent for sent, _, _ in complete]),
        tokens=np.array([len(at) for _, at, _ in complete], dtype=np.int64),
        at=np.array([t for _, at, _ in complete for t in at]),
        truth=np.array([int(t) for _, _, words in complete for t in words], dtype=np.int64),
        broken=np.array(len(replies) - len(complete)),
    )


if STAGES:
    from benchmarks import stages

    whole = os.environ.get("BENCH_WHOLE") == "1"
    stages.measure(Path(STAGES), events.reply.add_listener, locust_events.test_stopping.add_listener, whole=whole)
if TOKEN_LOG:
    events.reply.add_listener(_log)
    locust_events.quitting.add_listener(_write)
