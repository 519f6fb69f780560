"""The answer in plain words, in parts that a page may set apart."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """Parts of the sentence, each empty where there is nothing to say."""

    invalid: str
    """why the measurement is invalid"""
    caveats: tuple[str, ...]
    """what makes the number doubtful"""
    before: str
    """of the first clause, up to its number"""
    number: str
    """of people"""
    after: str
    """of the first clause, after its number"""
    interval: str
    """limits of the number; without one, of the suggestion whose number `before` gives"""
    rest: str
    """all further sentences"""

    @property
    def names_suggestion(self) -> bool:
        """Whether it gives a number that is not proven, with its limits if both are known."""
        return bool(self.interval) and not self.number

    @property
    def opening(self) -> str:
        """The caveats and what stands before the number: one colon, however many caveats there are."""
        if not self.caveats:
            return self.before
        first, *others = self.caveats
        caveats = "; ".join([first, *map(_lowered, others)])
        return f"{caveats}: {_lowered(self.before)}".rstrip()

    @property
    def clause(self) -> str:
        """What follows the number, to the full stop."""
        limits = f"(95 %: {self.interval})" if self.interval else ""
        return f"{' '.join(filter(None, (self.after, limits)))}."

    @property
    def reported(self) -> str:
        """The whole answer, whether the measurement is valid or not."""
        first = " ".join(filter(None, (self.opening, self.number)))
        return " ".join(filter(None, (f"{first} {self.clause}" if self.after else f"{first}.", self.rest)))

    @property
    def sentence(self) -> str:
        """The answer as one text."""
        invalid = f"Invalid measurement: {self.invalid}. Reported result: " if self.invalid else ""
        return invalid + self.reported


def _lowered(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}"
