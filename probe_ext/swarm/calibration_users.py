"""The locustfile of `probe calibrate`: users as any other, and at the end how far their times lay from the truth.

The target (`probe_ext.sim.paced`) writes the truth into the text of every token. The errors go to the file that
PROBE_CALIBRATION names, as JSON: microseconds, one list for TTFT and one for gaps; and seconds by which reads were
overdue, those of the second half of each reply: when users come, all connect at once, and that does not last.
"""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

from locust import events as locust_events
from locust import task

from probe_ext import StreamingUser
from probe_ext.swarm import events

BOOK = "PROBE_CALIBRATION"
_kept: list[tuple[float, list[float], str]] = []
_overdue: list[float] = []


class CalibrationUser(StreamingUser):
    """Asks, reads the whole reply, asks again."""

    @task
    def ask(self) -> None:
        """One question."""
        self.llm.ask(self.prompts.next())


@events.reply.add_listener
def _keep(reply: Any, **_: Any) -> None:
    if reply.ok and reply.marks.sent is not None:
        _kept.append((reply.marks.sent, reply.choices[0].events.at, reply.text))
    _overdue.extend(reply.overdue[len(reply.overdue) // 2 :])


def errors(sent: float, at: list[float], text: str) -> tuple[float, list[float]]:
    """Of one reply: microseconds by which its TTFT and each of its gaps differ from the truth in its text."""
    first, *others = text.split()
    arrived, handed = map(int, first.split(":"))
    truth = [handed, *map(int, others)]
    ttft = abs((at[0] - sent) * 1e6 - (handed - arrived) / 1e3)
    gaps = zip(pairwise(at), pairwise(truth), strict=True)
    return ttft, [abs((later - earlier) * 1e6 - (b - a) / 1e3) for (earlier, later), (a, b) in gaps]


@locust_events.quitting.add_listener
def _write(**_: Any) -> None:
    path = os.environ.get(BOOK)
    if not path or not (_kept or _overdue):
        return  # a master has no users
    found = [errors(*reply) for reply in _kept]
    gaps = [gap for _, of_reply in found for gap in of_reply]
    book = {"ttft": [ttft for ttft, _ in found], "gaps": gaps, "overdue": _overdue}
    Path(path).write_text(json.dumps(book), encoding="utf-8")
