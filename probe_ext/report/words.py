"""Every number into words, with its unit. Missing is a dash, never zero.

The terminal, the page and the short texts take their figures from here, so they cannot differ.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

DASH = "–"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def missing(value: float | None) -> bool:
    """None, or not a number."""
    return value is None or math.isnan(value)


def seconds(value: float | None) -> str:
    """`4 ms`, `0.12 s`, `7.4 s`, `64 s`, `3 min 20 s`."""
    if value is None or math.isnan(value):
        return DASH
    if value < 0.00095:
        return f"{value * 1000:.2g} ms" if value else "0 s"
    if value < 0.0095:
        return f"{value * 1000:.0f} ms"
    return f"{decimals(value)} s" if value < 120 else span(value)


def short(value: float) -> str:
    """A short time to compare with others: `8.7 ms`, `24 ms`, `1.3 s`."""
    if value >= 1:
        return seconds(value)
    return f"{value * 1000:.1f} ms" if value < 0.01 else f"{value * 1000:.0f} ms"


def bound(value: float) -> str:
    """A threshold, or a tick of a scale, in seconds as short as it was set: `10 ms`, `0.2 s`, `1 s`, `60 s`."""
    return f"{value * 1000:g} ms" if value < 0.095 else f"{value:g} s"


def tick(value: float) -> str:
    """A tick of a scale without unit: `0`, `0.5`, `1,000`."""
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def speed(value: float) -> str:
    """A threshold of typing speed: `10/s`."""
    return f"{value:g}/s"


def decimals(value: float) -> str:
    """As many digits as a reader can use: `0.12`, `7.4`, `64`."""
    if value < 0.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 9.95 else count(round(value))


def span(value: float | None) -> str:
    """A stretch of time: `45 s`, `9 min`, `3 min 20 s`, `1 h 5 min`."""
    if value is None or math.isnan(value):
        return DASH
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    big, small, names = (whole // 3600, whole % 3600 // 60, "h min") if whole >= 3600 else (*divmod(whole, 60), "min s")
    first, second = names.split()
    return f"{big} {first} {small} {second}" if small else f"{big} {first}"


def moment(value: float) -> str:
    """A place on the time axis: `0:40`, `12:05`, `1:02:00`."""
    whole = round(value)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def rate(value: float | None) -> str:
    """Tokens a second, without the unit: `609`, `27`, `9.2`."""
    return DASH if value is None or math.isnan(value) else decimals(value)


def percent(fraction: float | None) -> str:
    """`97 %`; `99.7 %` where rounding would make it whole."""
    if fraction is None or math.isnan(fraction):
        return DASH
    value = fraction * 100
    return f"{value:.1f} %" if 99 < value < 99.95 or 0 < value < 1 else f"{value:.0f} %"


def count(value: float | None) -> str:
    """`2,214`."""
    return DASH if value is None or math.isnan(value) else f"{round(value):,}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def plain(value: object) -> str:
    """A value of the manifest as one line of text; a dash where there is none."""
    if value is None or value in ("", [], {}):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(inner) for inner in value)
    return " ".join(str(value).split())


def pauses(found: Mapping[str, Any]) -> str:
    """What goes with the silent pauses, in a sentence; empty where there was none."""
    return str(found["says"]) if found["count"] else ""


def when(text: str) -> str:
    """`2 Jan 2026, 03:04 UTC`; what is no such moment stays as it is."""
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{at.day} {_MONTHS[at.month - 1]} {at:%Y, %H:%M} UTC"


def team(capacity: Mapping[str, Any]) -> list[str]:
    """How many people it is enough for and what it costs, a sentence each; empty where nothing was given or proven."""
    return [str(capacity[key]["says"]) for key in ("team", "cost") if capacity[key] is not None]


def cold_user(found: Mapping[str, Any]) -> str:
    """What a cold and a warm user wait, in a sentence; empty where it was not measured."""
    if not found["measured"]:
        return ""
    waits = f"{seconds(found['cold_p50'])} for its first word, a warm one {seconds(found['warm_p50'])}"
    return f"A cold user waits {waits} (medians)."


def bounds(capacity: Mapping[str, Any]) -> str:
    """What bounds the server, and the edge where a level stands on it."""
    edge = capacity["edge"]
    return " ".join([capacity["diagnosis"]["sentence"], *([edge["sentence"]] if edge["on_edge"] else [])])
