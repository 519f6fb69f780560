"""Which batches of a worker have come: small however long a run is, since most come in order."""


class SequenceSet:
    """A set of whole numbers from 1 on."""

    def __init__(self) -> None:
        self.whole = 0
        """all up to this one have come"""
        self.highest = 0
        self._beyond: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number <= self.whole or number in self._beyond

    def add(self, number: int) -> None:
        """It has come."""
        self.highest = max(self.highest, number)
        self._beyond.add(number)
        while self.whole + 1 in self._beyond:
            self.whole += 1
            self._beyond.remove(self.whole)
