"""Measure the CPU of each stage of a run: the functions of each stage are timed with the thread's CPU clock.

The benchmark's locustfile imports this if BENCH_STAGES is set, to the file to write. To keep the overhead of timing
small, only functions that never block are timed, a few per reply and one for all sockets read together. The rest of
each thread's CPU is reported, too.
"""

import json
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gevent.monkey import get_original

from benchmarks.probe_run import READING
from probe_ext.access.endpoint import Endpoint
from probe_ext.client import reply
from probe_ext.client.wire import kernel_receive, socket_reactor
from probe_ext.client.wire.connection import Connection
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.run_files.collector import Collector
from probe_ext.swarm.users import recorder
from probe_ext.swarm.users.llm import Llm
from probe_ext.target.metrics.poller import Poller

WARM_UP_S = 3.0
"""Time after the first read that is not counted: users are still starting, and code runs for the first time."""

STAGES: list[tuple[str, Any, str]] = [
    (READING, socket_reactor.SocketReactor, "_read_ready"),
    ("assigning kernel timestamps", kernel_receive, "arrivals"),
    ("finding the events in the reads", reply.ReplyReader, "feed"),
    ("determining the outcome", reply.ReplyReader, "fill"),
    ("computing the row: rates, gaps, deadlines", recorder, "reply_row"),
    ("adding to window sketches", recorder, "write_windows"),
    ("notifying Locust and listeners", Llm, "_fire_events"),
    ("building the next request", Endpoint, "request"),
    ("sending the request", Connection, "send"),
    ("sending batches to the master", recorder.Recorder, "flush"),
    ("writing tables to disk", Collector, "accept"),
    ("updating the live figures", ActiveRun, "_update_live"),
    ("polling the server's metrics", Poller, "poll"),
]


Used = tuple[float, float]
"""CPU seconds in all, and in the kernel."""


class StageTimer:
    """CPU seconds per stage, each excluding the stages that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.threads: dict[int, tuple[Used, Used]] = {}
        """Each thread's usage when counting began, and at its latest stage."""
        self.reader: int | None = None
        self.tokens = 0
        self._inner: dict[int, float] = defaultdict(float)
        self._first: float | None = None

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that it is timed."""
        clock, monotonic, thread = time.thread_time, time.monotonic, get_original("_thread", "get_ident")

        def call(*args: Any, **kwargs: Any) -> Any:
            me, before = thread(), clock()
            outer, self._inner[me] = self._inner[me], 0.0
            try:
                return function(*args, **kwargs)
            finally:
                after = clock()
                self._count(stage, me, monotonic(), before, after)
                self._inner[me] = outer + after - before

        return call

    def _count(self, stage: str, me: int, now: float, before: float, after: float) -> None:
        self._first = self._first or now
        if now - self._first >= WARM_UP_S:
            self.seconds[stage] += after - before - self._inner[me]
            used = after, resource.getrusage(resource.RUSAGE_THREAD).ru_stime
            self.threads[me] = (self.threads.get(me, (used, used))[0], used)
            self.reader = me if stage == READING else self.reader


def measure(path: Path, on_reply: Callable[[Callable[..., None]], None], at_end: Callable[..., None]) -> None:
    """Time all stages from now on, and write the result at the end."""
    timer = StageTimer()
    for stage, owner, name in STAGES:
        setattr(owner, name, timer.timed(stage, getattr(owner, name)))

    def count(reply: Any, **_: Any) -> None:
        if timer.threads:
            timer.tokens += reply.tokens_out or 0

    def write(**_: Any) -> None:
        threads = {
            "reading thread" if me == timer.reader else "main thread": {
                "cpu": to[0] - since[0],
                "kernel": to[1] - since[1],
            }
            for me, (since, to) in timer.threads.items()
        }
        path.write_text(json.dumps({"tokens": timer.tokens, "seconds": timer.seconds, "threads": threads}))

    on_reply(count)
    at_end(write)
