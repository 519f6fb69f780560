"""A locustfile: users who ask without a pause, and a book of every token's time beside its truth.

The book is kept where BENCH_BOOK names a file; BENCH_NO_STAMPS=1 does without the kernel's receive times.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from locust import events as locust_events
from locust import task

import probe_ext.client.kernel_receive
from probe_ext import StreamingUser
from probe_ext.swarm.users import events

BOOK = os.environ.get("BENCH_BOOK")
STAGES = os.environ.get("BENCH_STAGES")
_kept: list[tuple[float, list[float], str]] = []

if os.environ.get("BENCH_NO_STAMPS"):
    probe_ext.client.kernel_receive.enable_timestamps = lambda _socket: False


class BenchUser(StreamingUser):
    """Asks, reads the whole reply, asks again."""

    @task
    def ask(self) -> None:
        """One short question."""
        self.llm.ask(self.prompts.next())


def _keep(reply: Any, **_: Any) -> None:
    """Kept whole: taking it apart is left until nobody waits."""
    if reply.choices and reply.marks.sent is not None:
        choice = reply.choices[0]
        _kept.append((reply.marks.sent, choice.events.at, "".join(choice.text)))


def _write(**_: Any) -> None:
    replies = [(sent, at, text.split()) for sent, at, text in _kept]
    whole = [(sent, at, said) for sent, at, said in replies if len(at) == len(said)]
    np.savez(
        str(BOOK),
        sent=np.array([sent for sent, _, _ in whole]),
        tokens=np.array([len(at) for _, at, _ in whole], dtype=np.int64),
        at=np.array([t for _, at, _ in whole for t in at]),
        truth=np.array([int(t) for _, _, said in whole for t in said], dtype=np.int64),
        broken=np.array(len(replies) - len(whole)),
    )


if STAGES:
    from benchmarks import stages

    stages.measure(Path(STAGES), events.reply.add_listener, locust_events.test_stopping.add_listener)
if BOOK:
    events.reply.add_listener(_keep)
    locust_events.quitting.add_listener(_write)
