"""Where the CPU of a run goes, stage by stage: each stage's own functions are timed by the thread's CPU clock.

Imported by the benchmark's locustfile where BENCH_STAGES names a file to write. Only functions that never wait are
timed, a few a reply and one for all sockets that are read together, so that the timing itself is small; what is in no
stage is told too, as the thread's CPU without them.
"""

import json
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gevent.monkey import get_original

from benchmarks.ours import READING
from probe_ext.client import kernel_receive, reply, socket_reactor
from probe_ext.client.connection import Connection
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.master.collector import Collector
from probe_ext.swarm.users import recorder
from probe_ext.swarm.users.endpoint import Endpoint
from probe_ext.swarm.users.llm import Llm
from probe_ext.target.poller import Poller

SETTLED = 3.0
"""seconds after the first read from which on is counted: users have come, and everything was used once"""

STAGES: list[tuple[str, Any, str]] = [
    (READING, socket_reactor.SocketReactor, "_read_ready"),
    ("placing the kernel's stamps", kernel_receive, "arrivals"),
    ("searching the reads, taking their events", reply.ReplyReader, "feed"),
    ("how the reply ended", reply.ReplyReader, "fill"),
    ("its row: pace, gaps, deadlines", recorder, "reply_row"),
    ("its share of the windows", recorder, "write_windows"),
    ("telling Locust and listeners", Llm, "_fire_events"),
    ("building the next request", Endpoint, "request"),
    ("handing it to the kernel", Connection, "send"),
    ("batches: sketches, rows", recorder.Recorder, "flush"),
    ("tables on the disk", Collector, "accept"),
    ("the live figures", ActiveRun, "_update_live"),
    ("the server's metrics", Poller, "poll"),
]


Used = tuple[float, float]
"""seconds of CPU, and those of them in the kernel"""


class Spent:
    """CPU seconds by stage, each without the stages that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.threads: dict[int, tuple[Used, Used]] = {}
        """what each thread had used when counting began, and at its latest stage"""
        self.reader: int | None = None
        self.tokens = 0
        self._inner: dict[int, float] = defaultdict(float)
        self._first: float | None = None

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""
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
        if now - self._first >= SETTLED:
            self.seconds[stage] += after - before - self._inner[me]
            used = after, resource.getrusage(resource.RUSAGE_THREAD).ru_stime
            self.threads[me] = (self.threads.get(me, (used, used))[0], used)
            self.reader = me if stage == READING else self.reader


def measure(path: Path, on_reply: Callable[[Callable[..., None]], None], at_end: Callable[..., None]) -> None:
    """Time all stages from now on, and write what they took."""
    spent = Spent()
    for stage, owner, name in STAGES:
        setattr(owner, name, spent.timed(stage, getattr(owner, name)))

    def count(reply: Any, **_: Any) -> None:
        if spent.threads:
            spent.tokens += reply.tokens_out or 0

    def write(**_: Any) -> None:
        threads = {
            "thread that reads" if me == spent.reader else "main thread": {
                "cpu": to[0] - since[0],
                "kernel": to[1] - since[1],
            }
            for me, (since, to) in spent.threads.items()
        }
        path.write_text(json.dumps({"tokens": spent.tokens, "seconds": spent.seconds, "threads": threads}))

    on_reply(count)
    at_end(write)
