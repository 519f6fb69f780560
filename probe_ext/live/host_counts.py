"""How many requests each server of a run over several has had so far, and how many failed."""

from collections import Counter

from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.table_rows import ReplyRow


class HostCounts:
    """Counts finished replies by the kind of user, each of which asks a server of its own."""

    def __init__(self) -> None:
        self._replies: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def add(self, row: ReplyRow) -> None:
        """Add a finished reply, or an arrival that was not sent."""
        self._replies[row.scenario] += 1
        self._failed[row.scenario] += is_failure(Outcome(row.outcome))

    def line(self) -> str:
        """Return `tuned 612, untuned 590 (12 failed)`: replies by server. No capacity: servers are judged apart."""
        failed = self._failed
        return ", ".join(
            f"{name} {replies:,}" + (f" ({failed[name]:,} failed)" if failed[name] else "")
            for name, replies in sorted(self._replies.items())
        )
