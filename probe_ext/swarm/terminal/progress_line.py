"""A line of progress while a headless run goes on: rewritten on a terminal; in a file, a line now and then."""

import os
import shutil
import sys
from typing import TextIO

from probe_ext.live.live_run import Now
from probe_ext.live.status_line import line
from probe_ext.swarm.master.load_shape import LevelShape

_AGAIN = 30.0
"""seconds after which a line is written even where nothing changed, if it goes to no terminal"""
_SOON = 5.0
"""seconds between two lines for a number of users that changes: a ramp adds somebody every second"""
_WORTH_A_LINE = 5.0
"""seconds that something before the run takes, before a file hears of it: most are over at once"""
_REWRITE = "\r\x1b[2K"
_COLOURS = {"held": "\x1b[32m", "failed": "\x1b[31m"}
_PLAIN = "\x1b[0m"


class Progress:
    """Asked for a line once a second."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._coloured = self._terminal and not os.environ.get("NO_COLOR")
        self._said: tuple[str, int, float] | None = None
        self._shown = False
        self._heard = True

    def preparing(self, what: str, seconds: float) -> None:
        """What is done before the run, and for how long."""
        text = f"{_clock(seconds)}  {what}"
        if self._terminal:
            self._rewrite(text[: _width()])
        elif seconds >= _WORTH_A_LINE:
            self._now_and_then(text, what, 0, seconds)

    def show(self, now: Now, shape: object) -> None:
        """Say where the run is."""
        position = shape.steps.position if isinstance(shape, LevelShape) else ""
        time = f"{_clock(now.t)}  "
        if self._terminal:
            self._rewrite(time + line(now, position, _width() - len(time)), now.level.state if now.level else "")
        else:
            self._now_and_then(time + line(now, position), position, now.users, now.t)

    def _rewrite(self, text: str, state: str = "") -> None:
        """One line, which is to be no wider than the terminal: else it could not be taken back."""
        if self._coloured and state in _COLOURS:
            text = f"{_COLOURS[state]}{text}{_PLAIN}"
        self._write(f"{_REWRITE}{text}")
        self._shown = True

    def _now_and_then(self, text: str, stage: str, users: int, now: float) -> None:
        """At once where a stage begins, soon where the users change, seldom else."""
        if self._said is not None and self._said[0] == stage:
            _, before, since = self._said
            if now - since < (_AGAIN if users == before else _SOON):
                return
        self._said = (stage, users, now)
        self._write(f"{text}\n")

    def clear(self) -> None:
        """Leave the terminal's line to what comes next."""
        if self._shown:
            self._write(_REWRITE)
            self._shown = False

    def _write(self, text: str) -> None:
        """Where nobody listens any more (`2>&1 | head`), the run goes on in silence."""
        if not self._heard:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            self._heard = False


def _width() -> int:
    return max(20, shutil.get_terminal_size().columns - 1)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
