"""One check of whether, and how far, a run can be believed, as a value."""

from dataclasses import dataclass
from typing import Literal

CheckState = Literal["pass", "fail", "unproven"]


@dataclass(frozen=True)
class Finding:
    """One check of whether, and how far, the run can be believed."""

    check: str
    state: CheckState
    invalidates: bool
    """whether its failing makes the whole verdict invalid; else it warns"""
    why: str
    advice: str = ""

    @property
    def spoils(self) -> bool:
        """Whether it makes this verdict invalid."""
        return self.state == "fail" and self.invalidates
