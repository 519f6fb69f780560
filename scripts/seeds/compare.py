"""Published beside measured, cell by cell: how far apart, within which bounds, and what was fitted to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.seeds import article
from scripts.seeds.article import Cell
from scripts.seeds.drive import Result
from scripts.seeds.figures import Figures
from scripts.seeds.workload import FITTED

BOUNDS = {
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
    "preemptions": ("some", 0.0),
    "waiting_max": ("some", 0.0),
}
"""How far a measured cell may be from the published one: share of it; factor either way; percentage points; or `some`:
none where there were none, some where there were some (counts of a handful of events are no better known)."""

_FROM = {"decode_rate": "decode_rate", "cold_p50": "ttft_p50", "warm_p50": "ttft_p50"}
_FROM |= {"cold_hit_rate": "hit_rate", "warm_hit_rate": "hit_rate"}


@dataclass(frozen=True)
class Compared:
    """One published number and ours."""

    cell: Cell
    measured: float
    fitted: str | None
    """what was fitted to it; None: predicted"""

    @property
    def off(self) -> float:
        """Measured to published: share, factor, points, or events more."""
        kind, published = BOUNDS[self.cell.quantity][0], self.cell.published
        if kind == "share":
            return self.measured / published - 1
        return self.measured / published if kind == "factor" else self.measured - published

    @property
    def within(self) -> bool:
        """Whether it is within its bound."""
        kind, bound = BOUNDS[self.cell.quantity]
        if kind == "some":
            return (self.measured > 0) == (self.cell.published > 0)
        if kind == "factor":
            return 1 / bound <= self.off <= bound
        return abs(self.off) <= bound


def compare(results: Sequence[Result]) -> list[Compared]:
    """Every published cell, in the article's order. KeyError names a cell that was not measured."""
    found = {(r.trial.table, r.trial.model, r.trial.users): r.figures for r in results}
    return [Compared(cell, _measured(cell, found), FITTED.get(cell.key)) for cell in article.cells()]


def _measured(cell: Cell, found: Mapping[tuple[str, str, int], Figures]) -> float:
    if cell.quantity == "ratio":
        arms = (found[f"caching-{arm}", cell.model, cell.users]["ttft_p50"] for arm in ("cold", "warm"))
        cold, warm = (value or 0.0 for value in arms)
        return cold / warm
    table = f"caching-{cell.quantity[:4]}" if cell.table == "caching" else cell.table
    value = found[table, cell.model, cell.users][_FROM.get(cell.quantity, cell.quantity)]
    if value is None:
        raise KeyError(cell.key)
    return value
