"""Overlaid curves: the served share of each set-up over the number of users, with its 95 % limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.charts import svg
from probe_ext.verdict.phrasing import formats

HEIGHT_PX = 300
MAX_LABELS = 12


@dataclass(frozen=True)
class ShareChart:
    """The picture, its legend, and the needed share in per cent from the top."""

    plot: svg.Plot
    legend: Sequence[str]
    """names of the set-ups, in the order of their line styles"""
    limit_y: float


def share_chart(set_ups: Sequence[Mapping[str, Any]], needed: float) -> ShareChart | None:
    """Draw all set-ups; None where no level has a served share."""
    numbers = sorted({level["users"] for set_up in set_ups for level in set_up["levels"]})
    if not numbers:
        return None
    across, up = svg.Linear(0, numbers[-1]), svg.Linear(0, 1)
    shapes, points = [], []
    for number, set_up in enumerate(set_ups):
        at = [(_x(across, level["users"]), up.top(level["served_share"])) for level in set_up["levels"]]
        bars = [
            f"M{svg.number(_x(across, level['users']))} {svg.number(up.top(level['low']))}"
            f"V{svg.number(up.top(level['high']))}"
            for level in set_up["levels"]
            if level["low"] is not None and level["high"] is not None
        ]
        shapes += (
            [svg.Shape("".join(bars), f"limits u{number}"), svg.Shape(svg.polyline(at), f"ln u{number}")] if at else []
        )
        shapes += [svg.Shape(svg.dots(at), f"dot big u{number}")] if at else []
        points += [f"{set_up['name']}: {_read(set_up['levels'])}"]
    step = max(1, -(-len(numbers) // MAX_LABELS))
    labels = [svg.Label(_x(across, users) / 10, 100, f"{users:,}", dy=18) for users in numbers[::-1][::step]]
    labels += [svg.Label(0, up.top(share), formats.percent(share), "ax", "end", -6, 4) for share in (0.0, 0.5, 1.0)]
    plot = svg.Plot(
        "Served share over users", ". ".join(points), HEIGHT_PX, shapes, labels, [up.top(s) for s in (0.0, 0.5, 1.0)]
    )
    return ShareChart(plot, [str(set_up["name"]) for set_up in set_ups], up.top(needed))


def _x(across: svg.Linear, users: int) -> float:
    return (100 - across.top(users)) / 100 * svg.WIDTH


def _read(levels: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{formats.percent(level['served_share'])} at {level['users']:,}" for level in levels)
