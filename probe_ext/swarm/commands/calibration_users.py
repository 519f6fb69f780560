"""The locustfile of `probe calibrate`: users as any other, and at the end how far their times lay from the truth.

The target (`probe_ext.sim.calibration_server`) writes the truth into the text of every token, by the clock that we
use, too. What was found goes to the file that PROBE_CALIBRATION names, as JSON of lists: in microseconds, the errors
of TTFT and of gaps; in seconds, of the reads of each reply's second half, the lag and the overdue part of it, and how
late its tokens had their times. The second half, because users who come all connect at once, and that does not last.
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

BOOK = "PROBE_CALIBRATION"
_kept: list[tuple[float, list[float], str]] = []
_late: dict[str, list[float]] = {"lag": [], "overdue": []}


class CalibrationUser(StreamingUser):
    """Asks, reads the whole reply, asks again."""

    @task
    def ask(self) -> None:
        """One question."""
        self.llm.ask(self.prompts.next())


@events.reply.add_listener
def _keep(reply: Any, **_: Any) -> None:
    for name, seconds in (("lag", reply.lags), ("overdue", reply.overdue)):
        _late[name].extend(second_half(seconds))
    if reply.marks.sent is not None and reply.choices and len(reply.choices[0].events.at) == len(reply.text.split()):
        _kept.append((reply.marks.sent, reply.choices[0].events.at, reply.text))


def second_half(values: list[float]) -> list[float]:
    """Of what came one after another in a reply."""
    return values[len(values) // 2 :]


def truth(text: str) -> tuple[int, list[int]]:
    """When the request had arrived, and when each token was handed over: nanoseconds."""
    first, *others = text.split()
    arrived, handed = map(int, first.split(":"))
    return arrived, [handed, *map(int, others)]


def errors(sent: float, at: list[float], text: str) -> tuple[float, list[float]]:
    """Of one reply: microseconds by which its TTFT and each of its gaps differ from the truth in its text."""
    arrived, handed = truth(text)
    ttft = abs((at[0] - sent) * 1e6 - (handed[0] - arrived) / 1e3)
    gaps = zip(pairwise(at), pairwise(handed), strict=True)
    return ttft, [abs((later - earlier) * 1e6 - (b - a) / 1e3) for (earlier, later), (a, b) in gaps]


def lateness(at: list[float], text: str) -> list[float]:
    """Of one reply: seconds by which each token has its time after it was handed over."""
    _, handed = truth(text)
    return [max(0.0, moment - true / 1e9) for moment, true in zip(at, handed, strict=True)]


@locust_events.quitting.add_listener
def _write(**_: Any) -> None:
    path = os.environ.get(BOOK)
    kept = [reply for reply in _kept if reply[1]]
    if not path or not kept:
        return  # a master has no users
    found = [errors(*reply) for reply in kept]
    book = {
        "ttft": [ttft for ttft, _ in found],
        "gaps": [gap for _, of_reply in found for gap in of_reply],
        "late": [late for _, at, text in kept for late in second_half(lateness(at, text))],
        **_late,
    }
    Path(path).write_text(json.dumps(book), encoding="utf-8")
