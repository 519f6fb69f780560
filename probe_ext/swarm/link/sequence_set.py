"""Which batches of a worker have arrived, in little memory: most arrive in order."""


class SequenceSet:
    """A set of integers from 1 on."""

    def __init__(self) -> None:
        self.complete_up_to = 0
        self.highest = 0
        self._beyond: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number <= self.complete_up_to or number in self._beyond

    def add(self, number: int) -> None:
        """Add a number."""
        self.highest = max(self.highest, number)
        self._beyond.add(number)
        while self.complete_up_to + 1 in self._beyond:
            self.complete_up_to += 1
            self._beyond.remove(self.complete_up_to)
