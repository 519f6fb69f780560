"""Every kind of message between workers and their master, with every wrong type and size in every place."""

import copy
import math
from collections.abc import Iterator
from typing import Any

from probe_ext import __version__
from probe_ext.measure.sketch import ACCURACY
from probe_ext.measure.window_sketches import COUNT_SECONDS, SKETCH_SECONDS
from probe_ext.swarm.link import messages
from probe_ext.swarm.link.message_shapes import FROM_WORKERS
from tests.attacks.stranger import a_batch, a_row

_GONE = object()
_DEEP: list[Any] = []
for _ in range(400):
    _DEEP = [_DEEP]
_WRONG: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, 2**64 - 1, -(2**63), 1e300, math.nan, math.inf, -math.inf),
    *("", "x" * 20_000, "\x1b[31m\u202e", "../../x", "=1+1", b"x", b"\xff" * 3000),
    *([], {}, [[]], {"a": 1}, [1] * 5000, {str(n): n for n in range(2000)}, _DEEP),
)
UNKNOWN_KINDS = (
    "",
    "hello",
    "ack",
    "spawn",
    "stop",
    "reconnect",
    "probe_begin",
    "probe_ack",
    "probe_drain",
    "x" * 9000,
)


def valid(run: str, worker: str) -> dict[str, Any]:
    """One message of each kind, as a worker sends it."""
    sketch = {"accuracy": ACCURACY, "low": 0, "sum": 1.0, "min": 1.0, "max": 1.0, "bins": {"3": 1}}
    windows = [
        {"metric": "tokens", "start": 0.0, "seconds": COUNT_SECONDS, "count": 5},
        {"metric": "ttft", "start": 0.0, "seconds": SKETCH_SECONDS, "sketch": sketch},
    ]
    totals = {"num_requests": 1, "num_failures": 0}
    made: dict[str, Any] = {
        "client_ready": "2.47.0",
        "locustfile": {"version": "2.47.0"},
        "client_stopped": None,
        "heartbeat": {"state": "running", "current_cpu_usage": 12.5, "current_memory_usage": 10_000_000},
        "stats": {
            "stats": [{"name": "a", "method": "LLM", **totals}],
            "stats_total": {"name": "Aggregated", **totals},
            "errors": {"e": {"occurrences": 1}},
            "user_classes_count": {"CapacityUser": 2},
            "user_count": 2,
        },
        "spawning": None,
        "spawning_complete": {"user_classes_count": {"CapacityUser": 2}, "user_count": 2},
        "logs": {"worker_id": worker, "logs": ["a line"]},
        "quit": None,
        "exception": {"msg": "m", "traceback": "t"},
        messages.HELLO: None,
        messages.PONG: {"t": 1.0, "mono": 2.0, "clock": "c", "host": "h", "version": __version__, "key": False},
        messages.BATCH: a_batch(run, worker, rows=[a_row(worker, 1)], windows=windows),
        messages.DRAINED: {"run": run, "worker": worker, "last": 3},
        messages.END: None,
    }
    assert made.keys() == FROM_WORKERS.keys()
    return made


def wrong(run: str, worker: str) -> Iterator[tuple[str, Any]]:
    """Each message with each of its parts replaced by each wrong value, or left out."""
    for kind, data in {**valid(run, worker), **dict.fromkeys(UNKNOWN_KINDS)}.items():
        for at in _places(data):
            for value in _WRONG if not at else (_GONE, *_WRONG):
                yield kind, _changed(data, at, value)


def refused(run: str, worker: str) -> Iterator[tuple[str, Any]]:
    """Those that are wrong by their shape; the others are in range, if not true."""
    for kind, data in wrong(run, worker):
        if not (kind in FROM_WORKERS and FROM_WORKERS[kind](data)):
            yield kind, data


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from _places(item, (*at, key))


def _changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    made = copy.deepcopy(value)
    place = made
    for key in at[:-1]:
        place = place[key]
    if new is _GONE:
        del place[at[-1]]
    else:
        place[at[-1]] = new
    return made
