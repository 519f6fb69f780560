"""What grows in a master's memory while a run goes on, line by line: a locustfile, as `thinking` with a look inside.

Where PROBE_GROWTH_FILE names a file, the master writes into it by how much what each line of code holds has grown from
PROBE_GROWTH_SINCE (second of the run) to the run's end, as MiB an hour.
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
_SHOWN = 40
_MIB = 2**20


@events.init.add_listener
def _watch(environment: Any, **_: Any) -> None:
    file = os.environ.get("PROBE_GROWTH_FILE")
    if not file or not isinstance(environment.runner, MasterRunner):
        return
    looks: list[tuple[float, tracemalloc.Snapshot]] = []

    def look(after: float = 0.0) -> None:
        gevent.sleep(after)
        gc.collect()
        looks.append((clock.monotonic(), tracemalloc.take_snapshot()))

    def told(**_: Any) -> None:
        look()
        (begun, before), (ended, after) = looks
        hours = (ended - begun) / 3600
        lines = after.compare_to(before, "lineno")
        grown = [(one.size_diff / hours / _MIB, one.count_diff, str(one.traceback[0])) for one in lines]
        grown.sort(reverse=True)
        total = sum(mib for mib, _, _ in grown)
        kept = [{"mib_an_hour": round(mib, 3), "objects": n, "where": where} for mib, n, where in grown[:_SHOWN]]
        Path(file).write_text(
            json.dumps({"minutes": 60 * hours, "mib_an_hour": round(total, 2), "lines": kept}, indent=1)
        )

    def start(**_: Any) -> None:
        gevent.spawn(look, float(os.environ.get("PROBE_GROWTH_SINCE", "180")))

    tracemalloc.start()
    environment.events.test_start.add_listener(start)
    environment.events.test_stopping.add_listener(told)
