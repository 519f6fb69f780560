"""What each message between master and workers may contain: its types and bounds.

A value is checked by a function that returns whether it is allowed. Messages of another shape are dropped before
anything uses them (`message_filter.py`). Bounds are wide: they keep arithmetic, memory and files safe, no more.
"""

from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

from probe_ext.load.level_plan import MAX_RATE
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.sketch import ACCURACY
from probe_ext.measure.table_rows import GapRow, ReplyRow, columns
from probe_ext.measure.unfinished import MAX_AGE_S, EarlyCount
from probe_ext.measure.window_sketches import COUNT_SECONDS, KIND_SEPARATOR, SKETCH_SECONDS
from probe_ext.swarm.link import messages
from probe_ext.workload.arrival_times import FORMS, MAX_CV, MIN_CV, TRACE

Check = Callable[[Any], bool]

_MAX_TEXT = 10_000
_MAX_NUMBER = 1e10  # seconds: three centuries
_MAX_COUNT = 2**53  # the largest integer that every consumer of the files reads exactly
_MAX_ITEMS = 1_000_000
_MAX_BIN = 10_000  # of a sketch: values far beyond any time
_OUTCOMES = frozenset(outcome.value for outcome in Outcome)
_METRICS = frozenset({"lag", "overdue", "ttft", "tokens", "gap", "itl"})
_MAX_METRIC = 100
_STATES = frozenset({"ready", "spawning", "running", "cleanup", "stopping", "stopped", "missing"})


def text(length: int = _MAX_TEXT) -> Check:
    """Allow strings."""
    return lambda value: isinstance(value, str) and len(value) <= length


def number(low: float = -_MAX_NUMBER, high: float = _MAX_NUMBER) -> Check:
    """Allow finite numbers."""
    return lambda value: type(value) in {int, float} and low <= value <= high


def count(low: int = 0, high: int = _MAX_COUNT) -> Check:
    """Allow integers."""
    return lambda value: type(value) is int and low <= value <= high


def flag(value: Any) -> bool:
    """Allow True and False."""
    return isinstance(value, bool)


def one_of(allowed: frozenset[str]) -> Check:
    """Allow some strings."""
    return lambda value: isinstance(value, str) and value in allowed


def optional(check: Check) -> Check:
    """Allow None too."""
    return lambda value: value is None or check(value)


def anything(value: Any) -> bool:
    """Allow every value: Locust checks it, or does not use it."""
    return True


def nothing(value: Any) -> bool:
    """Allow None only."""
    return value is None


def items(check: Check, most: int = _MAX_ITEMS) -> Check:
    """Allow lists of such values."""
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(check, value))


def mapping(key: Check, check: Check, most: int = _MAX_ITEMS) -> Check:
    """Allow dictionaries of such keys and values."""
    return lambda value: (
        isinstance(value, dict) and len(value) <= most and all(map(key, value)) and all(map(check, value.values()))
    )


def keys(required: Mapping[str, Check], more: Mapping[str, Check] | None = None, *, others: bool = False) -> Check:
    """Allow dictionaries with these keys; `more` may be missing; `others`: unknown keys are allowed."""
    known = {**required, **(more or {})}

    def check(value: Any) -> bool:
        if not isinstance(value, dict) or not required.keys() <= value.keys():
            return False
        return all(known[key](item) if key in known else others for key, item in value.items())

    return check


def row(kind: type[ReplyRow] | type[GapRow], special: Mapping[str, Check]) -> Check:
    """Allow lists of a table's values in the order of its columns."""
    hints = get_type_hints(kind)
    by_type: dict[type, Check] = {str: text(), bool: flag, float: number(), int: count()}

    def of(name: str) -> Check:
        types = get_args(hints[name]) or (hints[name],)
        check = special.get(name) or by_type[types[0]]
        return optional(check) if type(None) in types else check

    checks = tuple(of(name) for name in columns(kind))
    return lambda value: (
        isinstance(value, (list, tuple))
        and len(value) == len(checks)
        and all(check(item) for check, item in zip(checks, value, strict=True))
    )


_BINS = mapping(lambda key: isinstance(key, str) and _is_bin(key), count())
_SKETCH_KEYS = keys(
    {
        "accuracy": lambda value: value == ACCURACY,
        "low": count(),
        "sum": number(0, 1e18),
        "min": optional(number(0)),
        "max": optional(number(0)),
        "bins": _BINS,
    }
)


def _is_bin(key: str) -> bool:
    return len(key) <= 6 and key.removeprefix("-").isdecimal() and abs(int(key)) <= _MAX_BIN


def _metric(value: Any) -> bool:
    """Allow a metric's name, and that of the same metric for one kind of user."""
    return isinstance(value, str) and len(value) <= _MAX_METRIC and value.partition(KIND_SEPARATOR)[0] in _METRICS


def _sketch(value: Any) -> bool:
    if not _SKETCH_KEYS(value):
        return False
    filled = value["low"] + sum(value["bins"].values()) > 0
    return filled == (value["min"] is not None) == (value["max"] is not None)


_WINDOW = {"metric": _metric, "start": number()}
_counts = keys({**_WINDOW, "seconds": count(COUNT_SECONDS, COUNT_SECONDS), "count": count()})
_sketches = keys({**_WINDOW, "seconds": count(SKETCH_SECONDS, SKETCH_SECONDS), "sketch": _sketch})
_ID = text(300)


def _early_count(value: Any) -> bool:
    return items(count(), len(EarlyCount._fields))(value) and len(value) == len(EarlyCount._fields)


_BATCH = keys(
    {
        "run": _ID,
        "worker": _ID,
        "number": count(1, 2**40),
        "started": count(),
        "finished": count(),
        "cpu_seconds": number(0),
        "loop_lag_max": number(0),
        "stamped": optional(flag),
        "disk_error": optional(text()),
        "rows": items(row(ReplyRow, {"outcome": one_of(_OUTCOMES)})),
        "gaps": items(row(GapRow, {})),
        "windows": items(lambda value: _counts(value) or _sketches(value)),
    },
    {
        "reading_path": optional(text(500)),
        "early": items(_early_count, MAX_AGE_S + 1),
        "started_by_kind": mapping(text(300), count(), 100),
    },
)
_VARIABLES = items(text(200), 100)
_FILES = items(keys({"path": text(5000), "field": optional(text(1000)), "sha256": text(64)}, {"trace": flag}), 100)
_COMPARED = optional(keys({"digests": items(text(64), 100), "problems": items(text(2000), 100)}))
_USERS = mapping(text(1000), count(0, 10**9), 10_000)

FROM_STRANGERS: dict[str, Check] = {
    "client_ready": lambda value: value == -1 or text(100)(value),
    "locustfile": keys({"version": text(100)}, others=True),
}
"""how a worker begins"""

FROM_WORKERS: dict[str, Check] = {
    **FROM_STRANGERS,
    "client_stopped": nothing,
    "heartbeat": keys(
        {"state": one_of(_STATES), "current_cpu_usage": number(0)}, {"current_memory_usage": number(0, 2.0**63)}
    ),
    "stats": keys(
        {
            "stats": items(keys({"name": text(), "method": optional(text())}, others=True), 100_000),
            "stats_total": keys({"num_requests": count(), "num_failures": count()}, others=True),
            "errors": mapping(text(), keys({"occurrences": count()}, others=True), 100_000),
            "user_classes_count": _USERS,
            "user_count": count(),
        },
        others=True,
    ),
    "spawning": nothing,
    "spawning_complete": keys({"user_classes_count": _USERS, "user_count": count()}),
    "logs": keys({"worker_id": _ID, "logs": items(text(100_000), 100_000)}),
    "quit": nothing,
    "exception": keys({"msg": text(1_000_000), "traceback": text(1_000_000)}),
    messages.HELLO: nothing,
    messages.PONG: keys(
        {"t": number(), "mono": number(), "clock": text(300), "host": text(300), "version": text(100), "key": flag},
        {"missing": _VARIABLES, "compared": _COMPARED},
    ),
    messages.BATCH: _BATCH,
    messages.DRAINED: keys({"run": _ID, "worker": _ID, "last": count(0, 2**40)}),
    messages.END: optional(one_of(frozenset({messages.PROMPTS_CHANGED}))),
}

FROM_MASTER: dict[str, Check] = {
    messages.PING: keys({"t": number(), "version": text(100), "key": flag}, {"variables": _VARIABLES, "files": _FILES}),
    messages.BEGIN: keys(
        {
            "run": _ID,
            "origin": number(),
            "directory": text(5000),
            "longest": number(0),
            "deadlines": optional(keys({"first": number(0), "each": number(1e-9), "from_sent": flag, "visible": flag})),
        },
        {"follow": flag},
    ),
    messages.ARRIVALS: keys(
        {
            "run": _ID,
            "form": one_of(frozenset({*FORMS, TRACE})),
            "seed": count(),
            "give_up": number(0),
            "give_up_of": mapping(text(300), number(0), 100),
            "kinds": mapping(text(300), number(0, 1), 100),
            "segments": items(
                keys(
                    {
                        "number": count(),
                        "rate": number(0, MAX_RATE),
                        "start": number(),
                        "index": optional(count()),
                        "of": count(),
                        "before": mapping(text(300), count(), 100),
                        "replay": count(),
                        "since": number(),
                    }
                ),
                100,
            ),
        },
        {"cv": number(MIN_CV, MAX_CV), "to_each": flag},
    ),
    messages.ACK: keys({"run": _ID, "number": count(1, 2**40), "kept": flag}),
    messages.DRAIN: keys({"run": _ID, "limit": number(0), "again": flag}),
}
"""only our own; Locust's are code and options, which a worker takes from its master"""


def names_sender(kind: str, data: Any, sender: str) -> bool:
    """Whether a message of a valid shape speaks for its sender only."""
    if kind == "logs":
        return bool(data["worker_id"] == sender)
    if kind in {messages.BATCH, messages.DRAINED} and data["worker"] != sender:
        return False
    if kind == messages.BATCH:
        start = f"{sender}:"
        rows_are_own = all(
            values[0].startswith(start) and values[1] == sender and values[2].startswith(start)
            for values in data["rows"]
        )
        return rows_are_own and all(values[0].startswith(start) for values in data["gaps"])
    return True
