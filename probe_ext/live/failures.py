"""Failed replies of a run, and what they have in common."""

from collections import deque
from dataclasses import dataclass

from probe_ext.measure.outcome import CLIENT_SIDE, Outcome, is_failure
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.verdict.checks.failure_causes import Failure
from probe_ext.verdict.checks.outage import MIN_REPLIES_GONE, REFUSED
from probe_ext.verdict.phrasing.formats import moment

MAX_REFUSED = 10_000
"""refused connections kept after the last answer"""


@dataclass(frozen=True)
class CommonReason:
    """Why all failures of a run happened."""

    words: str
    """the first message, such as `HTTP 400: …`"""
    advice: str
    """the option that helps; empty where load may be the reason"""


class Failures:
    """Counts failed replies, and keeps the first reason, and what was refused since the server's last answer."""

    def __init__(self) -> None:
        self.number = 0
        self._last_answer: float | None = None
        self._refused: deque[ReplyRow] = deque(maxlen=MAX_REFUSED)
        self._first: ReplyRow | None = None
        self._alike = True

    def add(self, row: ReplyRow) -> None:
        """Take a reply, failed or not."""
        self._note_answer(row)
        if not is_failure(Outcome(row.outcome)):
            return
        self.number += 1
        self._first = self._first or row
        self._alike &= (row.outcome, row.status) == (self._first.outcome, self._first.status)

    def _note_answer(self, row: ReplyRow) -> None:
        outcome = Outcome(row.outcome)
        if outcome in REFUSED:
            if self._last_answer is not None and row.due > self._last_answer:
                self._refused.append(row)
        elif outcome not in CLIENT_SIDE and row.end > (self._last_answer or 0.0):
            self._last_answer = row.end
            late = [one for one in self._refused if one.due > row.end]
            self._refused = deque(late, maxlen=MAX_REFUSED)

    def gone(self) -> str:
        """Return `connection refused since 0:42` if the server answered once and no longer does; else nothing."""
        if self._last_answer is None or len(self._refused) < MIN_REPLIES_GONE:
            return ""
        row = self._refused[0]
        words = Failure(row.outcome, row.status, row.message or "", "").words.rstrip(".")
        if words[1:2].islower():  # not an abbreviation
            words = words[:1].lower() + words[1:]
        return f"{words} since {moment(self._last_answer)}"

    def common_reason(self) -> CommonReason | None:
        """Return the reason if all failures are alike."""
        if self._first is None or not self._alike:
            return None
        row = self._first
        failure = Failure(row.outcome, row.status, row.message or "", row.finish_reason or "")
        return CommonReason(failure.words, failure.advice if failure.is_never_load else "")
