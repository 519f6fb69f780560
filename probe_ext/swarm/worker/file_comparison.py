"""Compare a worker's copies of the prompt files with the master's, without holding up its other messages."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent

from probe_ext.access.file_prompts.prompt_files import trace_difference
from probe_ext.measure import clock

_RECOMPARE_AFTER_S = 2.0

logger = logging.getLogger(__name__)

Difference = Callable[[str, str | None, str], str | None]
"""path, field and SHA-256 of a file; returns why the own copy differs, None if it does not"""


class FileComparison:
    """Reads files in a thread, as large ones take seconds. `done` is called when the result is first known."""

    def __init__(self, difference: Difference, done: Callable[[], None]) -> None:
        self._difference, self._done = difference, done
        self._digests: list[str] | None = None
        self._problems: list[str] | None = None
        self._compared_at = 0.0
        """monotonic seconds; 0 before the first result"""

    def result(self, files: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """Return the digests that were compared and what is wrong; None as long as that is not known."""
        digests = [entry["sha256"] for entry in files]
        if digests != self._digests:
            self._digests, self._problems, self._compared_at = digests, [] if not files else None, 0.0
            if files:
                gevent.spawn(self._compare, list(files), digests)
        if self._problems is None:
            return None
        result = {"digests": digests, "problems": self._problems}
        if self._problems and clock.monotonic() - self._compared_at > _RECOMPARE_AFTER_S:  # they may be mended
            self._problems = None
            gevent.spawn(self._compare, list(files), digests)
            return None
        return result

    def _compare(self, files: Sequence[Mapping[str, Any]], digests: list[str]) -> None:
        try:
            found = gevent.get_hub().threadpool.apply(self._differences, (files,))
        except Exception as error:  # else the master would wait for an answer
            logger.debug("while comparing prompt files", exc_info=error)
            found = [f"internal error (please report): {type(error).__name__}: {error}"]
        if digests == self._digests:
            first, self._compared_at = not self._compared_at, clock.monotonic()
            self._problems = found
            if first:
                self._done()

    def _differences(self, files: Sequence[Mapping[str, Any]]) -> list[str]:
        compared = (
            trace_difference(entry["path"], entry["sha256"])
            if entry.get("trace")
            else self._difference(entry["path"], entry["field"], entry["sha256"])
            for entry in files
        )
        return [problem for problem in compared if problem is not None]
