"""Sentences that page, terminal and summary share, from `capacity.json` and the manifest."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from probe_ext.verdict.judge import NOTHING_GIVEN
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.results.team_size import Given

STATE_WORDS = {"held": "holds", "failed": "fails", "unproven": "unproven"}
STATE_SIGNS = {"held": "✓", "failed": "✗", "unproven": "?"}
MEASURED_TEAM = (
    "No team size is computed: the users of this run paused themselves, so the answer is the size of a team already."
)
GRADES = ("served", "strained", "broken")
"""Grades of a reply, as in the keys `replies_…` of a level."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def plain(value: object) -> str:
    """Return a value of the manifest as one line of text; a dash if it is empty."""
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


def when(text: str) -> str:
    """Return `2 Jan 2026, 03:04 UTC`; text that is not an ISO timestamp stays as it is."""
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{at.day} {_MONTHS[at.month - 1]} {at:%Y, %H:%M} UTC"


def extra_sentences(capacity: Mapping[str, Any], given: Given = NOTHING_GIVEN) -> list[str]:
    """Return the sentences that follow the answer: cold users, pauses, limits, team and cost, energy."""
    found = [cold_user(capacity["cold_user"]), pauses(capacity["pauses"]), limits(capacity)]
    found += [*cost_sentences(capacity["kinds"]), *measured_team(capacity), *team(capacity, given)]
    found.append(capacity["gpu"]["sentence"] if capacity["gpu"] else "")
    return [sentence for sentence in found if sentence]


def pauses(found: Mapping[str, Any]) -> str:
    """Say what coincides with the silent pauses; empty where there were none."""
    return str(found["sentence"]) if found["count"] else ""


def measured_team(capacity: Mapping[str, Any]) -> list[str]:
    """Return the sentence on users who paused between a reply and their next request; none of those who did not."""
    return [str(capacity["think_time"]["sentence"])] if capacity["think_time"] else []


def team(capacity: Mapping[str, Any], given: Given) -> list[str]:
    """Return the sentences on team size and cost; of what was asked for and is not proven, that it is not."""
    asked = {"team": ("team size", given.think_time), "cost": ("cost", given.price_per_hour)}
    known = [str(capacity[key]["sentence"]) for key in asked if capacity[key] is not None]
    measured = capacity["think_time"] is not None
    if measured and given.think_time is not None:
        known.insert(0, MEASURED_TEAM)
        asked.pop("team")
    open_ones = [name for key, (name, value) in asked.items() if value is not None and capacity[key] is None]
    if not open_ones:
        return known
    why = "the run is invalid" if capacity["verdict"] == "invalid" else "no number of users is proven to be served"
    return [*known, f"No {' and no '.join(open_ones)}: {why}."]


def split_command(sentence: str, capacity: Mapping[str, Any]) -> tuple[str, str]:
    """Return a sentence without the command that it ends in, and that command; empty of a sentence without one."""
    command = (capacity["team"] or {}).get("command") or ""
    code = f"`{command}`"
    return (sentence.removesuffix(code), command) if command and sentence.endswith(code) else (sentence, "")


def cold_user(gap: Mapping[str, Any]) -> str:
    """Compare the waits of cold and warm users; empty where they were not measured."""
    if not gap["measured"]:
        return ""
    cold, warm = formats.seconds(gap["cold_p50"]), formats.seconds(gap["warm_p50"])
    return f"A cold user waits {cold} for the first word, a warm one {warm} (medians)."


def cost_sentences(kinds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return `One review user costs as much as 3.2 chat users (95 %: 2.1 to 5).` of each kind where it is known."""
    return [_cost_of_kind(str(kind["name"]), kind["cost"]) for kind in kinds if kind["cost"] is not None]


def _cost_of_kind(name: str, cost: Mapping[str, Any]) -> str:
    """Name the heavier kind first."""
    heavy, light, figures = name, cost["of"], (cost["users"], cost["low"], cost["high"])
    if cost["users"] < 1:
        heavy, light, figures = light, heavy, (1 / cost["users"], 1 / cost["high"], 1 / cost["low"])
    users, low, high = (formats.decimals(figure) for figure in figures)
    return f"One {heavy} user costs as much as {users} {light} users (95 %: {low} to {high})."


def limits(capacity: Mapping[str, Any]) -> str:
    """Say what limits the server, and that the KV cache is near saturation where it is."""
    headroom = capacity["kv_headroom"]
    near = [headroom["sentence"]] if headroom["near_saturation"] else []
    return " ".join([capacity["diagnosis"]["sentence"], *near])
