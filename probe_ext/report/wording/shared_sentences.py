"""What the page, the short texts and the terminal say alike, out of `capacity.json` and the manifest."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from probe_ext.verdict.values import formats

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def plain(value: object) -> str:
    """A value of the manifest as one line of text; a dash where there is none."""
    if value is None or value in ("", [], {}):
        return formats.DASH
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
    waits = f"{formats.seconds(found['cold_p50'])} for its first word, a warm one {formats.seconds(found['warm_p50'])}"
    return f"A cold user waits {waits} (medians)."


def bounds(capacity: Mapping[str, Any]) -> str:
    """What bounds the server, and the edge where a level stands on it."""
    edge = capacity["edge"]
    return " ".join([capacity["diagnosis"]["sentence"], *([edge["sentence"]] if edge["on_edge"] else [])])
