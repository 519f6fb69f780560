"""What the package says on a terminal: one line, on stderr, with nothing in it that a terminal would obey."""

import contextlib
import sys

from probe_ext.client.safe_text import safe_text

SPEAKS_VARIABLE = "PROBE_WORKER_SPEAKS"
"""set by `probe worker`: `1` for the process that says when it has joined, and when a run begins and ends"""


def print_line(why: str) -> None:
    """One line; where nobody listens any more, a run goes on all the same."""
    with contextlib.suppress(BrokenPipeError):
        print(f"probe: {safe_text(why, length=1000)}", file=sys.stderr, flush=True)  # noqa: T201 - a command speaks to its user
