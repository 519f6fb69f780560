"""What other benchmarks count, reply by reply, level by level: under its own name beside the verdict in users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.wording.level_names import by_users, label
from probe_ext.verdict.values import formats

HEADS = (
    ("users", "users", ""),
    ("slo_attainment", "SLO attainment", "replies served"),
    ("goodput_rps", "goodput", "served replies/s"),
    ("fluidity_index", "fluidity index", "deadlines met"),
    ("fluid_share", "fluid replies", "index ≥ 0.9"),
)
"""term, heading and what it counts"""


@dataclass(frozen=True)
class ByReply:
    """The table, and a sentence below it."""

    heads: Sequence[tuple[str, str, str]]
    rows: Sequence[Sequence[str]]
    says: Sequence[str]


def by_reply(capacity: Mapping[str, Any]) -> ByReply | None:
    """The figures of each level; None without levels."""
    levels = capacity["levels"]
    if not levels:
        return None
    says = [_goodput(capacity["goodput"])]
    if all(level["fluidity_index"] is None for level in levels):
        says.append(
            "The fluidity index needs each token's time and is taken while a run goes on, by the run's own profile: "
            "this run has none that holds for this one."
        )
    return ByReply(HEADS, [_row(level) for level in by_users(levels)], says)


def _row(level: Mapping[str, Any]) -> list[str]:
    rate = level["goodput_rps"]
    return [
        label(level),
        formats.percent(level["slo_attainment"]),
        formats.DASH if rate is None else formats.decimals(rate),
        formats.DASH if level["fluidity_index"] is None else f"{level['fluidity_index']:.3f}",
        formats.percent(level["fluid_share"]),
    ]


def _goodput(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "At no level were 90 % of the replies served, so there is no goodput in DistServe's sense."
    rate, goal = formats.decimals(found["replies_per_s"]), formats.percent(found["goal"])
    users = formats.count(found["users"])
    return f"Goodput in DistServe's sense, with {goal} of the replies served: {rate} a second, at {users} users."
