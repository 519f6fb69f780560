"""Measure the CPU of each stage of a run: the functions of each stage are timed with the thread's CPU clock.

The benchmark's locustfile imports this if BENCH_STAGES is set, to the file to write. To keep the overhead of timing
small, only functions that never block are timed, a few per reply. The thread of the C extension is a stage of its own,
by the kernel's account of threads; the main thread and the whole process are reported, too. With BENCH_WHOLE=1, only
these are: then nothing is timed, which costs nothing.
"""

import json
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gevent.monkey import get_original

from probe_ext.access.endpoint import Endpoint
from probe_ext.access.prompt_source import Prompts
from probe_ext.client import reply
from probe_ext.client.exchange import Exchange
from probe_ext.client.wire.connection import Connection
from probe_ext.client.wire.native.native_stream import NativeStream
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.run_files.collector import Collector
from probe_ext.swarm.users import recorder
from probe_ext.swarm.users.llm import Llm

WARM_UP_S = 3.0
"""Time after the first stage that is not counted: users are still starting, and code runs for the first time."""

STAGES: list[tuple[str, Any, str]] = [
    ("making the exchange", Exchange, "__init__"),
    ("asking whether the connection is usable", Connection, "usable"),
    ("registering the socket", NativeStream, "__init__"),
    ("taking what the thread read, as Python values", NativeStream, "take_arrivals"),
    ("head, token events and end of the reply", reply.ReplyReader, "feed"),
    ("determining the outcome", reply.ReplyReader, "fill"),
    ("ending the exchange: last reads, segments", Exchange, "finish"),
    ("computing the row: rates, gaps, deadlines", recorder, "reply_row"),
    ("shifting the row's times, long gaps", recorder.Recorder, "_store_ended"),
    ("adding to window sketches", recorder, "write_windows"),
    ("notifying Locust and listeners", Llm, "_fire_events"),
    ("making the prompt", Prompts, "next"),
    ("building the next request", Endpoint, "request"),
    ("sending the request", Connection, "begin_send"),
    ("packing batches, backup of the rows", recorder.Recorder, "flush"),
    ("writing tables to disk", Collector, "accept"),
    ("passing replies to the live figures", ActiveRun, "_add_reply"),
    ("updating the live figures", ActiveRun, "_update_live"),
]
_READER = "probe-reader"
"""name of the extension's thread"""

Used = tuple[float, float]
"""CPU seconds in all, and in the kernel"""


class StageTimer:
    """CPU seconds per stage, each excluding the stages that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.since: dict[str, Used] = {}
        """what the threads and the whole process had used when counting began; empty before"""
        self.tokens = self.replies = 0
        self.began = 0.0
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
                if self.is_warm(monotonic()):
                    self.seconds[stage] += after - before - self._inner[me]
                self._inner[me] = outer + after - before

        return call

    def is_warm(self, now: float) -> bool:
        """Return whether the warm-up is over; it begins with the first call."""
        self._first = self._first or now
        if not self.since and now - self._first >= WARM_UP_S:
            self.since, self.began = used(), now
        return bool(self.since)


def used() -> dict[str, Used]:
    """Return what the extension's thread, this one and the whole process have used. RuntimeError without the first."""
    process = resource.getrusage(resource.RUSAGE_SELF)
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().strip() == _READER:
            user, kernel = map(int, (task / "stat").read_text().rpartition(")")[2].split()[11:13])
            second = os.sysconf("SC_CLK_TCK")
            reader = (user + kernel) / second, kernel / second
            return {
                "thread": reader,
                "main": (time.thread_time(), resource.getrusage(resource.RUSAGE_THREAD).ru_stime),
                "process": (process.ru_utime + process.ru_stime, process.ru_stime),
            }
    raise RuntimeError("no thread of the C extension: is it built?")


def measure(
    path: Path, on_reply: Callable[[Callable[..., None]], None], at_end: Callable[..., None], *, whole: bool = False
) -> None:
    """Time all stages from now on, or only threads as a `whole`; write the result at the end. On the main thread."""
    timer = StageTimer()
    for stage, owner, name in [] if whole else STAGES:
        setattr(owner, name, timer.timed(stage, getattr(owner, name)))

    def count(reply: Any, **_: Any) -> None:
        if timer.since:
            timer.tokens += reply.tokens_out or 0
            timer.replies += 1
        else:
            timer.is_warm(time.monotonic())

    def write(**_: Any) -> None:
        cpu = {
            name: {kind: to - since for kind, to, since in zip(("all", "kernel"), now, timer.since[name], strict=True)}
            for name, now in used().items()
        }
        counted = {"tokens": timer.tokens, "replies": timer.replies, "lasted": time.monotonic() - timer.began}
        path.write_text(json.dumps({**counted, "seconds": timer.seconds, "cpu": cpu}))

    on_reply(count)
    at_end(write)
