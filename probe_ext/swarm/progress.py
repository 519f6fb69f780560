"""A line of progress while a headless run goes on: rewritten on a terminal; in a file, a line now and then."""

import os
import shutil
import sys
from typing import TextIO

from probe_ext.live.run import Now
from probe_ext.live.words import figures
from probe_ext.swarm.shape import LevelShape
from probe_ext.verdict.words import things

_AGAIN = 30.0
"""seconds after which a line is written even where nothing changed, if it goes to no terminal"""
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
        self._said: tuple[object, float] | None = None
        self._shown = False

    def preparing(self, what: str, seconds: float) -> None:
        """What is done before the run, and for how long."""
        text = f"{_clock(seconds)}  {what}"
        if self._terminal:
            self._rewrite(text)
        elif seconds >= _WORTH_A_LINE:
            self._now_and_then(text, what, seconds)

    def show(self, now: Now, shape: object) -> None:
        """Say where the run is."""
        level = ""
        if isinstance(shape, LevelShape):
            level = f"{shape.steps.position} · "
        people = things(now.users, "user")
        parts = [f"{level}{people}{_felt(now)}", _replies(now), *figures(now)]
        text = f"{_clock(now.t)}  {' · '.join(parts)}"
        if self._terminal:
            self._rewrite(text, now.level.state if now.level else "")
        else:
            self._now_and_then(text, (now.users, level), now.t)

    def _rewrite(self, text: str, state: str = "") -> None:
        """One line, as wide as the terminal at most: a longer one could not be taken back."""
        text = text[: max(20, shutil.get_terminal_size().columns - 1)]
        if self._coloured and state in _COLOURS:
            text = f"{_COLOURS[state]}{text}{_PLAIN}"
        self._write(f"{_REWRITE}{text}")
        self._shown = True

    def _now_and_then(self, text: str, what: object, now: float) -> None:
        if self._said is None or what != self._said[0] or now - self._said[1] >= _AGAIN:
            self._said = (what, now)
            self._write(f"{text}\n")

    def clear(self) -> None:
        """Leave the terminal's line to what comes next."""
        if self._shown:
            self._write(_REWRITE)
            self._shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _felt(now: Now) -> str:
    """Who feels what, as far as anybody has been heard."""
    kinds = ("served", "strained", "broken", "undecided")
    told = [f"{n} {kind}" for kind in kinds if (n := getattr(now, f"users_{kind}"))]
    return f": {', '.join(told)}" if told else ""


def _replies(now: Now) -> str:
    failed = f", {now.failed} failed" if now.failed else ""
    return f"{things(now.replies, 'reply', 'replies')}{failed}"
