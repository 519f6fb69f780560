"""What the package prints on a terminal: single lines on stderr, and the progress line of a headless run.

The progress line is rewritten in place on a terminal; in a file, a new line is added now and then.
"""

import contextlib
import os
import shutil
import sys
from typing import Any, TextIO

import gevent

from probe_ext.live.live_run import Now
from probe_ext.live.status_line import status_line
from probe_ext.measure.safe_text import safe_text
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate

ANNOUNCE_VARIABLE = "PROBE_WORKER_ANNOUNCES"
"""set to 1 by `probe worker` for the one process that announces joining, and the start and end of runs"""

_REPEAT_AFTER_S = 30.0  # not on a terminal: seconds between two lines if nothing changed
_RAMP_REPEAT_AFTER_S = 5.0  # likewise while the number of users changes, which a ramp does every second
_QUIET_PERIOD_S = 5.0  # likewise before a preparation is mentioned: most are over at once
_CLEAR_LINE = "\r\x1b[2K"
_COLOURS = {"held": "\x1b[32m", "failed": "\x1b[31m"}
_RESET = "\x1b[0m"


def print_line(message: str) -> None:
    """Print one line on stderr, without control characters. That nobody can read it is no reason to end a run."""
    with contextlib.suppress(OSError):
        clear = _CLEAR_LINE if sys.stderr.isatty() else ""  # the progress line, which comes back a second later
        print(f"{clear}probe: {safe_text(message, length=1000)}", file=sys.stderr, flush=True)  # noqa: T201 - a command speaks to its user


def exit_main(code: int) -> None:
    """End Locust's main greenlet."""
    main: Any = gevent.get_hub().parent
    gevent.kill(main, SystemExit(code))


class ProgressLine:
    """Shows what is going on; call it once a second."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._coloured = self._terminal and not os.environ.get("NO_COLOR")
        self._last_line: tuple[str, int, float] | None = None
        """stage, users and second of the last line, not on a terminal"""
        self._shown = False
        self._closed = False

    def show_preparation(self, what: str, seconds: float) -> None:
        """Show a preparation that has been going on for `seconds`."""
        if self._terminal or seconds >= _QUIET_PERIOD_S:
            self._show_stage(what, seconds, "before the run, ")

    def show_ending(self, now: float) -> None:
        """Show that no more requests are sent; `now`: seconds of the run."""
        self._show_stage("waiting for the replies in flight", now)

    def show_hosts(self, now: float, replies: str, *, ending: bool) -> None:
        """Show the replies of each server of a run over several."""
        if ending:
            self.show_ending(now)
        elif replies:
            self._show_stage(f"replies: {replies}", now, stage="replies")

    def _show_stage(self, what: str, seconds: float, phase: str = "", stage: str = "") -> None:
        text = f"{phase}{_minutes(seconds)}  {what}"
        if self._terminal:
            self._rewrite(text[: _width()])
        else:
            self._append(text, stage or what, 0, seconds)

    def show(self, now: Now, estimate: CapacityEstimate | None, position: str) -> None:
        """Show the run's state; `position` names the step of its plan."""
        time = f"{_minutes(now.t)}  "
        if self._terminal:
            line = status_line(now, estimate, position, _width() - len(time))
            self._rewrite(time + line, now.level.state if now.level else "")
        else:
            stage = position.partition(",")[0]  # what follows changes often
            self._append(time + status_line(now, estimate, position), stage, now.users, now.t)

    def clear(self) -> None:
        """Clear the line, before anything else is printed."""
        if self._shown:
            self._write(_CLEAR_LINE)
            self._shown = False

    def _rewrite(self, text: str, state: str = "") -> None:
        """Replace the line by a text no wider than the terminal: a wrapped line could not be cleared."""
        if self._coloured and state in _COLOURS:
            text = f"{_COLOURS[state]}{text}{_RESET}"
        self._write(f"{_CLEAR_LINE}{text}")
        self._shown = True

    def _append(self, text: str, stage: str, users: int, now: float) -> None:
        """Add a line at once for a new stage, else only after a while."""
        if self._last_line is not None and self._last_line[0] == stage:
            _, last_users, last_time = self._last_line
            if now - last_time < (_REPEAT_AFTER_S if users == last_users else _RAMP_REPEAT_AFTER_S):
                return
        self._last_line = (stage, users, now)
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        if self._closed:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # as with `2>&1 | head`, or a terminal that was closed
            self._closed = True


def _width() -> int:
    return max(20, shutil.get_terminal_size().columns - 1)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
