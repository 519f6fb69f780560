"""Result of one check of a run's validity."""

from dataclasses import dataclass
from typing import Literal

from probe_ext.verdict.values.json_types import Text

CheckState = Literal["pass", "fail", "unproven"]


@dataclass(frozen=True)
class Finding:
    """Result of one check of the run's validity."""

    check: Text
    """name of the check"""
    state: CheckState
    invalidates: bool
    """whether a failure makes the verdict invalid; otherwise it is a warning"""
    why: str
    advice: str = ""

    @property
    def makes_invalid(self) -> bool:
        """Whether it makes this verdict invalid."""
        return self.state == "fail" and self.invalidates
