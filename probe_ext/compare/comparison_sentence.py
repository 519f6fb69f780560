"""The answer of a comparison in plain words; every output takes it from here."""

from collections.abc import Sequence

from probe_ext.compare.values import Aspects, Row
from probe_ext.verdict.phrasing.plurals import Who, is_or_are, things

TOO_WIDE_FACTOR = 2.0
"""a ratio that may be below 1 ÷ this and above this says nothing of the change"""
SIMPLE_RATIO = 1.95
"""from here on `2.4 times as many` reads better than `140 % more`"""


def comparison_sentence(
    names: Sequence[str], rows: Sequence[Row], refused: Sequence[Aspects], who: Who = "people"
) -> str:
    """Return whether a set-up serves more people, or why that can't be said; then how the other questions went."""
    capacity = [row for row in rows if row.quantity == "capacity"]
    if refused:
        why = "; ".join(dict.fromkeys(_difference(one) for one in refused))
        return f"No winner is named: {why}."
    if not capacity:
        return f"It is not known which serves more {who}: not every run has a capacity."
    answer = " ".join(_capacity(row, names[0], who) for row in capacity)
    others = [row for row in rows if row.quantity != "capacity"]
    return " ".join(filter(None, [answer, _others(others, names[0])]))


def _difference(one: Aspects) -> str:
    if one.name.endswith("s"):
        return f"{one.name} differ"
    return one.why if one.why.startswith("a run") else f"{one.name} differs"


def _capacity(row: Row, first: str, who: Who) -> str:
    interval = interval_text(row)
    if row.outcome in {"better", "worse"}:
        more = "more" if row.outcome == "better" else "fewer"
        by = "" if row.change is None else f": {change_text(row.change)} ({interval})"
        return f"“{row.set_up}” serves {more} {who} at once than “{first}”{by}."
    if row.reason == "too_close":
        return f"“{row.set_up}” serves about as many {who} at once as “{first}” ({interval})."
    return f"It can't be told whether “{row.set_up}” serves more {who} at once than “{first}”{_but(row, interval)}."


def _but(row: Row, interval: str) -> str:
    seen = (
        f" ({interval})"
        if row.change is not None and interval and not is_too_wide(row.scale, row.low, row.high)
        else ""
    )
    if row.reason == "server_changed" and row.minutes_more is not None:
        again = minutes_text(row.minutes_more)
        return f"{seen}: a server seemed to change during its run; measure again for {again} to rule out chance"
    if row.minutes_more is not None:
        return (
            f"{seen}: if the difference is as large as it seems, {more_minutes_text(row.minutes_more)} would settle it"
        )
    return seen + {
        "server_changed": ": a server changed during its run",
        "no_limit_reached": ": neither reached its limit; measure more users",
        "too_few": ": too few data",
        "gap_between_levels": ": the levels are too far apart; measure between them",
    }.get(row.reason, "")


def _others(rows: Sequence[Row], first: str) -> str:
    better, worse = (sum(row.outcome == outcome for row in rows) for outcome in ("better", "worse"))
    if not rows:
        return ""
    if not better and not worse:
        return f"No other figure ({len(rows)} compared) is better or worse beyond doubt."
    return (
        f"Of {things(len(rows), 'other figure')}, {better} {is_or_are(better)} better than with "
        f"“{first}”, {worse} worse, and {len(rows) - better - worse} undecided."
    )


def is_too_wide(scale: str, low: float | None, high: float | None) -> bool:
    """Tell whether the limits of a change are so wide that neither it nor they mean anything: half, or twice."""
    return scale == "ratio" and (low is None or low < 1 / TOO_WIDE_FACTOR) and (high is None or high > TOO_WIDE_FACTOR)


def change_text(ratio: float) -> str:
    """Return `2.4 times as many`, `25 % more`, `12 % fewer`."""
    if ratio >= SIMPLE_RATIO:
        return f"{ratio:.1f} times as many"
    percent = round(100 * abs(ratio - 1))
    return f"{percent} % {'more' if ratio >= 1 else 'fewer'}"


def interval_text(row: Row) -> str:
    """Return `95 %: 1.2 to 1.5 times`; of differences in points; empty without limits."""
    low, high = row.low, row.high
    if low is None and high is None:
        return ""
    if row.scale == "difference":
        ends = ["–∞" if low is None else f"{100 * low:+.0f}", "∞" if high is None else f"{100 * high:+.0f}"]
        return f"95 %: {ends[0]} to {ends[1]} points"
    if low is None:
        return f"95 %: at most {high:.2f} times"
    return f"95 %: at least {low:.2f} times" if high is None else f"95 %: {low:.2f} to {high:.2f} times"


def minutes_text(minutes: float) -> str:
    """Return `3 minutes`, `2 hours`."""
    return things(*_whole(minutes))


def more_minutes_text(minutes: float) -> str:
    """Return `about 3 more minutes`, `about 2 more hours`."""
    number, unit = _whole(minutes)
    return f"about {things(number, f'more {unit}')}"


def _whole(minutes: float) -> tuple[int, str]:
    whole = max(1, round(minutes))
    return (whole, "minute") if whole < 120 else (round(whole / 60), "hour")
