"""Failed replies of a run, and what they have in common."""

from dataclasses import dataclass

from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.verdict.checks.failure_causes import Failure


@dataclass(frozen=True)
class CommonReason:
    """Why all failures of a run happened."""

    words: str
    """the first message, such as `HTTP 400: …`"""
    advice: str
    """the option that helps; empty where load may be the reason"""


class Failures:
    """Counts failed replies, and keeps the first reason."""

    def __init__(self) -> None:
        self.number = 0
        self._first: ReplyRow | None = None
        self._alike = True

    def add(self, row: ReplyRow) -> None:
        """Take a reply, failed or not."""
        if not is_failure(Outcome(row.outcome)):
            return
        self.number += 1
        self._first = self._first or row
        self._alike &= (row.outcome, row.status) == (self._first.outcome, self._first.status)

    def common_reason(self) -> CommonReason | None:
        """Return the reason if all failures are alike."""
        if self._first is None or not self._alike:
            return None
        row = self._first
        failure = Failure(row.outcome, row.status, row.message or "", row.finish_reason or "")
        return CommonReason(failure.words, failure.advice if failure.is_never_load else "")
