"""Counts by name, of which a stranger may send any number."""

from collections import Counter

MAX_NAMES = 50
OTHERS = "(others)"


class Tally:
    """Counts the first MAX_NAMES names, and all others together."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count a name."""
        known = name in self._counts or len(self._counts) < MAX_NAMES
        self._counts[name if known else OTHERS] += 1

    def __getitem__(self, name: str) -> int:
        """Return a name's count."""
        return self._counts[name]

    def most_common(self) -> list[tuple[str, int]]:
        """Return names and counts, the most frequent first."""
        return self._counts.most_common()
