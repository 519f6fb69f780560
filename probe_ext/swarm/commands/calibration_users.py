"""The locustfile of `probe calibrate`: ordinary users, whose measured times are compared with the true ones at the end.

The target (`probe_ext.sim.calibration_server`) writes the true times into the text of every token, by the clock that we
read too. The result goes as JSON to the file in PROBE_CALIBRATION: `ttft` and `gaps` hold errors in microseconds;
`late`, `lag` and `overdue` hold seconds, of the second half of each reply only, as all users connect at once at the
start.
"""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

from locust import events as locust_events
from locust import task

from probe_ext import StreamingUser
from probe_ext.swarm.users import events

FILE_VARIABLE = "PROBE_CALIBRATION"
_replies: list[tuple[float, list[float], str]] = []
"""sent, token times, text"""
_delays: dict[str, list[float]] = {"lag": [], "overdue": []}


class CalibrationUser(StreamingUser):
    """Asks, reads the whole reply, asks again."""

    @task
    def ask(self) -> None:
        """Ask one question."""
        self.llm.ask(self.prompts.next())


@events.reply.add_listener
def _add(reply: Any, **_: Any) -> None:
    for name, seconds in (("lag", reply.lags), ("overdue", reply.overdue)):
        _delays[name].extend(second_half(seconds))
    if reply.marks.sent is not None and reply.choices and len(reply.choices[0].events.at) == len(reply.text.split()):
        _replies.append((reply.marks.sent, reply.choices[0].events.at, reply.text))


def second_half(values: list[float]) -> list[float]:
    """Return the later half of a reply's values."""
    return values[len(values) // 2 :]


def true_times(text: str) -> tuple[int, list[int]]:
    """Return when the request arrived, and when each token was sent, in nanoseconds."""
    first, *others = text.split()
    arrived, sent = map(int, first.split(":"))
    return arrived, [sent, *map(int, others)]


def errors(sent: float, at: list[float], text: str) -> tuple[float, list[float]]:
    """Return a reply's error of TTFT and of each gap, in microseconds."""
    arrived, true = true_times(text)
    ttft = abs((at[0] - sent) * 1e6 - (true[0] - arrived) / 1e3)
    gaps = zip(pairwise(at), pairwise(true), strict=True)
    return ttft, [abs((later - earlier) * 1e6 - (b - a) / 1e3) for (earlier, later), (a, b) in gaps]


def lateness(at: list[float], text: str) -> list[float]:
    """Return how long after it was sent each token of a reply was timed, in seconds."""
    return [max(0.0, moment - true / 1e9) for moment, true in zip(at, true_times(text)[1], strict=True)]


@locust_events.quitting.add_listener
def _write(**_: Any) -> None:
    path = os.environ.get(FILE_VARIABLE)
    replies = [reply for reply in _replies if reply[1]]
    if not path or not replies:
        return  # a master has no users
    by_reply = [errors(*reply) for reply in replies]
    result = {
        "ttft": [ttft for ttft, _ in by_reply],
        "gaps": [gap for _, gaps in by_reply for gap in gaps],
        "late": [late for _, at, text in replies for late in second_half(lateness(at, text))],
        **_delays,
    }
    Path(path).write_text(json.dumps(result), encoding="utf-8")
