"""When a worker was not heard: killed, hung, or cut off. It was well until it was last heard."""

from dataclasses import dataclass, field


@dataclass
class Absences:
    """Of one worker in one run; seconds of the run."""

    heard: float = 0.0
    """when it last said anything"""
    spans: list[list[float | None]] = field(default_factory=list)
    """`from, until`: until is None while it is away"""

    def hear(self, now: float) -> None:
        """It said something."""
        self.heard = now
        if self.away:
            self.spans[-1][1] = now

    def miss(self) -> None:
        """It is given up for the time being; it may have gone as early as it was last heard."""
        if not self.away:
            self.spans.append([self.heard, None])

    @property
    def away(self) -> bool:
        """Whether it is away now."""
        return bool(self.spans) and self.spans[-1][1] is None
