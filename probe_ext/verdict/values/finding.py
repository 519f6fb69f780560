"""Result of one check of a run's validity."""

from dataclasses import dataclass

from probe_ext.measure.findings import FindingName, FindingState


@dataclass(frozen=True)
class Finding:
    """Result of one check of the run's validity."""

    check: FindingName
    """name of the check"""
    state: FindingState
    invalidates: bool
    """whether a failure makes the verdict invalid; otherwise it is a warning"""
    why: str
    advice: str = ""

    @property
    def makes_invalid(self) -> bool:
        """Whether it makes this verdict invalid."""
        return self.state == "fail" and self.invalidates
