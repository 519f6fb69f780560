"""A locustfile like `thinking` that also records which lines of code allocate growing memory in the master.

If PROBE_GROWTH_FILE is set, the master writes to it how much the memory allocated by each line of code grew between
PROBE_GROWTH_SINCE (second of the run) and the end of the run, in MiB per hour.
"""

import gc
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.runners import MasterRunner

from probe_ext.measure import clock
from scripts.swarm.thinking import ThinkingUser

__all__ = ["ThinkingUser"]
_MAX_LINES = 40
_MIB = 2**20


@events.init.add_listener
def _trace_memory(environment: Any, **_: Any) -> None:
    file = os.environ.get("PROBE_GROWTH_FILE")
    if not file or not isinstance(environment.runner, MasterRunner):
        return
    snapshots: list[tuple[float, tracemalloc.Snapshot]] = []

    def take_snapshot(delay: float = 0.0) -> None:
        gevent.sleep(delay)
        gc.collect()
        snapshots.append((clock.monotonic(), tracemalloc.take_snapshot()))

    def write(**_: Any) -> None:
        take_snapshot()
        (start, before), (end, after) = snapshots
        hours = (end - start) / 3600
        lines = after.compare_to(before, "lineno")
        growth = [(line.size_diff / hours / _MIB, line.count_diff, str(line.traceback[0])) for line in lines]
        growth.sort(reverse=True)
        total = sum(mib for mib, _, _ in growth)
        top = [{"mib_an_hour": round(mib, 3), "objects": n, "where": where} for mib, n, where in growth[:_MAX_LINES]]
        Path(file).write_text(
            json.dumps({"minutes": 60 * hours, "mib_an_hour": round(total, 2), "lines": top}, indent=1)
        )

    def schedule(**_: Any) -> None:
        gevent.spawn(take_snapshot, float(os.environ.get("PROBE_GROWTH_SINCE", "180")))

    tracemalloc.start()
    environment.events.test_start.add_listener(schedule)
    environment.events.test_stopping.add_listener(write)
