"""Per-reply metrics of other benchmarks, level by level, beside the verdict in users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.wording.level_names import by_users, label
from probe_ext.report.wording.percentiles import share_text
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import RATE_UNIT, things
from probe_ext.verdict.results.slo_metrics import MIN_FINISHED

HEADS = (
    ("users", "users", ""),
    ("slo_attainment", "SLO attainment", "replies served"),
    ("goodput_rps", "goodput", "served replies/s"),
    ("fluidity_index", "fluidity index", "deadlines met"),
    ("fluid_share", "fluid replies", "index ≥ 0.9"),
)
"""Term, heading and unit."""


@dataclass(frozen=True)
class ByReply:
    """The table, and notes below it."""

    heads: Sequence[tuple[str, str, str]]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]


def by_reply(capacity: Mapping[str, Any]) -> ByReply | None:
    """Return the figures of each level; None without levels."""
    levels = capacity["levels"]
    if not levels:
        return None
    notes = [_goodput(capacity["goodput"])]
    if all(level["fluidity_index"] is None for level in levels):
        notes.append(
            "The fluidity index is recorded during the run, by the run's own profile; this run has none for the "
            "profile of this report."
        )
    heads = (("rate", RATE_UNIT, ""), *HEADS[1:]) if capacity["load"] == "rate" else HEADS
    return ByReply(heads, [_row(level) for level in by_users(levels)], notes)


def _row(level: Mapping[str, Any]) -> list[str]:
    rate = level["goodput_rps"]
    return [
        label(level),
        share_text(level, "served", level["slo_attainment"]),
        formats.DASH if rate is None else formats.decimals(rate),
        formats.DASH if level["fluidity_index"] is None else f"{level['fluidity_index']:.3f}",
        formats.percent(level["fluid_share"]),
    ]


def _goodput(goodput: Mapping[str, Any] | None) -> str:
    if goodput is None:
        return (
            f"At no number of users were 90 % of the replies served, DistServe's goal, and at least {MIN_FINISHED} "
            "finished, so no goodput is named for the run."
        )
    rate, goal = formats.decimals(goodput["replies_per_s"]), formats.percent(goodput["goal"])
    users = things(goodput["users"], "user")
    return f"Highest goodput with {goal} of replies served, DistServe's goal: {rate} served replies/s at {users}."
