"""How often the same comes again: distinct names, repetitions, and the most frequent ones."""

from probe_ext.tap.bounded_table import BoundedTable

MAX_NAMES = 100_000


class Repeats:
    """Counts names, such as hashes of prompts. Beyond MAX_NAMES, those not seen for longest are forgotten."""

    def __init__(self) -> None:
        self._counts: BoundedTable[str, int] = BoundedTable(MAX_NAMES)
        self.distinct = 0
        self.repeated = 0
        """names that had been seen before"""
        self.most = 0
        """of a single name"""

    def add(self, name: str) -> bool:
        """Count a name; return whether it was seen before."""
        before = self._counts.get(name) or 0
        self._counts.put(name, before + 1)
        self.most = max(self.most, before + 1)
        if before:
            self.repeated += 1
        else:
            self.distinct += 1
        return bool(before)

    @property
    def exact(self) -> bool:
        """Whether nothing was forgotten; otherwise `distinct` may be too high."""
        return not self._counts.forgotten
