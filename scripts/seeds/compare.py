"""Compare measured with published figures: deviation, tolerance, and which parameter was fitted to the figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.seeds import article
from scripts.seeds.article import Cell
from scripts.seeds.figures import Figures
from scripts.seeds.run_trial import Result
from scripts.seeds.workload import FITTED

TOLERANCES = {
    "total_tokens_per_s": ("share", 0.15),
    "decode_rate": ("share", 0.15),
    "decode_rate_mean": ("share", 0.15),
    "total_time_mean": ("share", 0.15),
    "ttft_mean": ("factor", 1.5),
    "ttft_p95": ("factor", 1.5),
    "cold_p50": ("factor", 1.5),
    "warm_p50": ("factor", 1.5),
    "ratio": ("share", 0.25),
    "kv_usage_max": ("points", 0.10),
    "cold_hit_rate": ("points", 0.05),
    "warm_hit_rate": ("points", 0.05),
    "preemptions": ("zero", 0.0),
    "waiting_max": ("zero", 0.0),
}
"""Tolerance of each quantity: a relative share; a factor either way; percentage points; or `zero`: zero if and only if
the published count is zero, since counts of a few events are not more precise than that."""

_MEASURED_AS = {"decode_rate": "decode_rate", "cold_p50": "ttft_p50", "warm_p50": "ttft_p50"}
_MEASURED_AS |= {"cold_hit_rate": "hit_rate", "warm_hit_rate": "hit_rate"}


@dataclass(frozen=True)
class Compared:
    """A published figure and ours."""

    cell: Cell
    measured: float
    fitted: str | None
    """The parameter that was fitted to it; None if predicted."""

    @property
    def deviation(self) -> float:
        """Deviation from the published figure: relative share, factor, or difference."""
        kind, published = TOLERANCES[self.cell.quantity][0], self.cell.published
        if kind == "share":
            return self.measured / published - 1
        return self.measured / published if kind == "factor" else self.measured - published

    @property
    def within(self) -> bool:
        """Whether the deviation is within tolerance."""
        kind, tolerance = TOLERANCES[self.cell.quantity]
        if kind == "zero":
            return (self.measured > 0) == (self.cell.published > 0)
        if kind == "factor":
            return 1 / tolerance <= self.deviation <= tolerance
        return abs(self.deviation) <= tolerance


def compare(results: Sequence[Result]) -> list[Compared]:
    """Compare every published figure, in the article's order. Raises KeyError for one that was not measured."""
    figures = {(r.trial.table, r.trial.model, r.trial.users): r.figures for r in results}
    return [Compared(cell, _measured(cell, figures), FITTED.get(cell.key)) for cell in article.cells()]


def _measured(cell: Cell, figures: Mapping[tuple[str, str, int], Figures]) -> float:
    if cell.quantity == "ratio":
        ttfts = (figures[f"caching-{prompts}", cell.model, cell.users]["ttft_p50"] for prompts in ("cold", "warm"))
        cold, warm = (value or 0.0 for value in ttfts)
        return cold / warm
    table = f"caching-{cell.quantity[:4]}" if cell.table == "caching" else cell.table
    value = figures[table, cell.model, cell.users][_MEASURED_AS.get(cell.quantity, cell.quantity)]
    if value is None:
        raise KeyError(cell.key)
    return value
