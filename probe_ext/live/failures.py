"""Failed replies of a run, and what they have in common."""

from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.table_rows import ReplyRow


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

    def common_reason(self) -> str | None:
        """Return the first message, such as `HTTP 400: …`, if all failures are alike."""
        if self._first is None or not self._alike:
            return None
        return self._first.message or self._first.outcome.replace("_", " ")
