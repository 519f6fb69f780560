"""A line of progress while a headless run goes on: rewritten on a terminal, one line a level elsewhere."""

import sys
from collections import deque
from typing import TextIO

from probe_ext.measure.rows import ReplyRow
from probe_ext.swarm.shape import LevelShape

_RECENT = 50


class Progress:
    """Told of every reply; asked for a line once a second."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._waits: deque[float] = deque(maxlen=_RECENT)
        self._replies = self._failed = 0
        self._said: object = None

    def on_reply(self, row: ReplyRow) -> None:
        """Count a reply."""
        self._replies += 1
        self._failed += row.outcome not in {"complete", "ended_by_us"}
        if row.first is not None:
            self._waits.append(row.first - row.due)

    def show(self, now: float, users: int, shape: object) -> None:
        """Say where the run is."""
        level = ""
        if isinstance(shape, LevelShape):
            level = f"level {shape.steps.index + 1} of {len(shape.steps.plan.levels)} · "
        people = f"{users} {'user' if users == 1 else 'users'}"
        text = f"{int(now) // 60:02d}:{int(now) % 60:02d}  {level}{people} · {self._replies} replies"
        if self._failed:
            text += f", {self._failed} failed"
        if self._waits:
            slowest = sorted(self._waits)[min(len(self._waits) - 1, int(0.95 * len(self._waits)))]
            text += f" · first word p95 {slowest:.2f} s"
        if self._terminal:
            self._stream.write(f"\r\x1b[2K{text}")
        elif (users, level) != self._said:
            self._stream.write(f"{text}\n")
        self._said = (users, level)
        self._stream.flush()
