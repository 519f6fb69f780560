"""What the runs of one case add up to: shares with counts and Wilson limits, widths, errors, minutes."""

from collections.abc import Sequence
from math import inf, isinf, sqrt
from statistics import fmean, median
from typing import Any

Row = dict[str, Any]
CLAIMED = {"covers": 0.95, "false_failed": 0.025, "false_held": 0.025}
CLAIMED_HARD = {"covers": 0.90, "false_failed": 0.05, "false_held": 0.05}
Z = 1.96
"""one-sided 97.5 %"""
MAX_ERROR, MAX_USERS_OFF = 0.05, 1.0
"""An estimate is close if it is off by no more than this share of the crossing, or by no more than one user."""


def figures(rows: Sequence[Row]) -> Row:
    """The figures of one case, from all its runs."""
    marks = [_marks(row) for row in rows]
    answered = [one for one in marks if one["covers"] is not None]
    errors = [one["error"] for one in marks if one["error"] is not None]
    truth = rows[0]["truth"]
    told: Row = {
        "case": rows[0]["case"],
        "runs": len(rows),
        "seeds": [min(row["seed"] for row in rows), max(row["seed"] for row in rows)],
        "truth": truth["users"],
        "tied": list(truth["tied"]),
        "near": truth.get("near", []),
        "covers": [sum(one["covers"] for one in answered), len(answered)],
        "false_failed": [sum(one["false_failed"] for one in marks), len(marks)],
        "false_held": [sum(one["false_held"] for one in marks), len(marks)],
        "unproven": [sum(one["unproven"] for one in marks), sum(one["levels"] for one in marks)],
        "width": fmean(one["width"] for one in answered) if answered else None,
        "bias": fmean(errors) if errors else None,
        "error": fmean(map(abs, errors)) if errors else None,
        "close": [sum(_is_close(row) for row in rows), len(rows)],
        "no_estimate": sum(row["estimate"] is None for row in rows),
        "minutes": _quantiles([row["seconds"] / 60 for row in rows]),
    }
    if "outcome" in rows[0]:
        told["precise"] = [sum(row["outcome"] in {"precise", "max_users"} for row in rows), len(rows)]
        told["two_ends"] = [
            None if isinf(minutes) else minutes for minutes in _quantiles([_minutes_to_two_ends(row) for row in rows])
        ]
        told["report_covers"] = [sum(_covers(row["report_interval"], row) is not False for row in rows), len(rows)]
    return told


def together(name: str, rows: Sequence[Row]) -> Row:
    """The same over runs of many servers."""
    return {**figures(rows), "case": name, "truth": None, "tied": [], "near": []}


def limits(hits: int, of: int) -> tuple[float, float]:
    """Wilson's limits of a share, each with an error of 2.5 %."""
    if not of:
        return 0.0, 1.0
    p = hits / of
    middle, half = p + Z * Z / (2 * of), Z * sqrt(p * (1 - p) / of + Z * Z / (4 * of * of))
    return (middle - half) / (1 + Z * Z / of), (middle + half) / (1 + Z * Z / of)


KNOWN_SHORTFALLS: dict[tuple[str, str], str] = {}
"""Claims that the study refutes, with what is known of why and what was tried."""


def missed_claims(told: Row, *, hard: bool = False) -> list[str]:
    """The claims that these figures refute, beyond chance."""
    if "covers" not in told:
        return []
    claimed = CLAIMED_HARD if hard else CLAIMED
    missed = []
    if limits(*told["covers"])[1] < claimed["covers"]:
        missed.append("covers")
    false = [name for name in ("false_failed", "false_held") if name in told]
    return missed + [name for name in false if limits(*told[name])[0] > claimed[name]]


def _marks(row: Row) -> Row:
    truth, tied = row["truth"]["users"], row["truth"]["tied"]
    clear = [(users, state) for users, state in row["levels"] if users not in tied]
    crossing, found = row["truth"]["crossing"], row["estimate"]
    top = max((users for users, _ in row["levels"]), default=0)
    interval = row["interval"]
    known = crossing is not None and found is not None and crossing <= top
    return {
        "covers": _covers(interval, row),
        "width": None if interval is None else (top if interval[1] is None else interval[1]) - interval[0],
        "false_failed": any(state == "failed" and users <= truth for users, state in clear),
        "false_held": any(state == "held" and users > truth for users, state in clear),
        "unproven": sum(state == "unproven" for _, state in row["levels"]),
        "levels": len(row["levels"]),
        "error": (found - crossing) / crossing if known else None,
    }


def _is_close(row: Row) -> bool:
    crossing, found = row["truth"]["crossing"], row["estimate"]
    known = crossing is not None and found is not None
    return known and abs(found - crossing) <= max(MAX_USERS_OFF, MAX_ERROR * crossing)


def _covers(interval: Any, row: Row) -> bool | None:
    """Whether the truth, or one that it is tied with, lies inside; beyond the highest level nothing is claimed."""
    if interval is None:
        return None
    low, high = interval
    top = max((users for users, _ in row["levels"]), default=0)
    truth, tied = row["truth"]["users"], row["truth"]["tied"]
    # A tied level may be the last that holds, or the first that doesn't.
    right = {truth, *(users for users in tied), *(users - 1 for users in tied)}
    return any(low <= users and (high is None or min(users, top) <= high) for users in right)


def _minutes_to_two_ends(row: Row) -> float:
    """When a search first had an interval from at least one user to a known number, or from 0 to 0; else infinite."""
    two_ended = (second / 60 for second, low, high in row["progress"] if high is not None and (low or not high))
    return next(two_ended, inf)


def _quantiles(values: Sequence[float]) -> list[float]:
    """Median and the 90th percentile."""
    ranked = sorted(values)
    return [median(ranked), ranked[min(len(ranked) - 1, int(0.9 * len(ranked)))]]
