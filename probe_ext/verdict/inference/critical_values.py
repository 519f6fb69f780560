"""How many standard errors prove something."""

from dataclasses import dataclass

from probe_ext.verdict.inference.quantiles import student_quantile

CONTRADICTION_ERROR = 0.005
_MANY = 1e9


@dataclass(frozen=True)
class CriticalValues:
    """Standard errors."""

    proof: float
    """of a level that holds or fails"""
    contradiction: float
    """of what must not happen by chance anywhere in a run"""

    @classmethod
    def of(cls, error: float, nu: float, critical: float | None) -> "CriticalValues":
        """Student's t at `nu` degrees of freedom; `critical` replaces its value at infinitely many."""
        scale = 1.0 if critical is None else critical / student_quantile(1 - error, _MANY)
        return cls(
            student_quantile(1 - error, nu) * scale,
            student_quantile(1 - CONTRADICTION_ERROR, nu) * scale,
        )
