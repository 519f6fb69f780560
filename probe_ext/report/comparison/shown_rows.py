"""Rows of a comparison in words: what each quantity is called, and how its values are written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.compare.comparison_sentence import is_too_wide, minutes_text, more_minutes_text
from probe_ext.compare.set_up_aspects import PLURAL, WAIVABLE
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import Who, listed, one_of, people, things
from probe_ext.verdict.results.team_size import money
from probe_ext.verdict.values.json_types import DIMENSIONS
from probe_ext.verdict.wording.capacity_phrase import far_apart

Json = Mapping[str, Any]
MAX_SHOWN_MINUTES = 240
"""a longer time is not announced for a figure other than capacity"""


@dataclass(frozen=True)
class Shown:
    """How a quantity is shown."""

    name: str
    write: Callable[[float], str]
    meaning: str


QUANTITIES: Mapping[str, Shown] = {
    "capacity": Shown("{who} at once", lambda value: f"{round(value):,}", "the largest number of {who} served"),
    "served": Shown(
        "served replies",
        formats.percent,
        "share of replies within all bounds of the SLO (service-level objectives) profile",
    ),
    "first_word": Shown("… by first word", formats.percent, "the same by the wait for the first word alone"),
    "typing": Shown("… by typing speed", formats.percent, "the same by typing speed alone"),
    "silence": Shown("… by silence", formats.percent, "the same by silent pauses alone"),
    "answer": Shown("… by complete answer", formats.percent, "the same by complete answers alone"),
    "throughput": Shown("throughput", lambda value: f"{formats.rate(value)} tok/s", "output tokens/s of all users"),
    "ttft_p50": Shown("TTFT p50", formats.seconds, "time to first token: half of the replies are faster"),
    "ttft_p95": Shown("TTFT p95", formats.seconds, "time to first token: 95 % of the replies are faster"),
    "decode_rate_p50": Shown(
        "typing speed p50",
        lambda value: f"{formats.rate(value)} tok/s",
        "output tokens/s of one reply after its first token: half of the replies are slower",
    ),
    "longest_gap_p95": Shown(
        "longest silence p95",
        formats.seconds,
        "longest gap between two tokens of a reply: 95 % of the replies have none longer",
    ),
    "cold_warm_ratio": Shown(
        "cold ÷ warm", formats.decimals, "TTFT when the prompt is not in the prefix cache, divided by TTFT when it is"
    ),
    "joules_per_1000_tokens": Shown(
        "energy", lambda value: f"{formats.decimals(value)} J/1,000 tok", "of the GPUs alone, per 1,000 output tokens"
    ),
    "cost_per_user_hour": Shown(
        "cost per {one}", lambda value: f"{money(value)}/h", "price of the server, divided by the {who} served at once"
    ),
    "cost_per_million_tokens": Shown("cost per million tokens", money, "output tokens, at this load"),
}
OUTCOMES = {"better": "better", "worse": "worse", "cannot_tell": "can't tell", "no_verdict": "no verdict"}
ABOUT_THE_SAME = "about the same"
"""result of a row whose limits lie so close together that any difference is small"""
TOO_WIDE = "from less than half to more than twice"
"""limits that say nothing of the change"""
_WHY = {
    "too_few": "too few data",
    "gap_between_levels": "levels too far apart",
    "no_limit_reached": "no limit reached",
    "server_changed": "a server changed during its run",
    "no_noise_known": "its uncertainty is not known",
}


@dataclass(frozen=True)
class ShownRow:
    """One row of the table."""

    name: str
    users: str
    set_up: str
    baseline: str
    value: str
    change: str
    interval: str
    outcome: str
    """better, worse, cannot_tell or no_verdict"""
    outcome_text: str
    why: str


def shown_rows(comparison: Json) -> list[ShownRow]:
    """Put the rows of `compare.json` into words."""
    by_name = {set_up["name"]: set_up for set_up in comparison["set_ups"]}
    first = comparison["set_ups"][0]
    return [_shown(row, comparison["who"], first, by_name[row["set_up"]]) for row in comparison["rows"]]


def _shown(row: Json, who: Who, first: Json, other: Json) -> ShownRow:
    ends = ((first, "baseline"), (other, "value"))
    unnamed = row["quantity"] == "capacity" and any(_range(set_up, round(row[key])) for set_up, key in ends)
    return ShownRow(
        name=of_users(QUANTITIES[row["quantity"]].name, who),
        users=formats.DASH if row["users"] is None else formats.count(row["users"]),
        set_up=row["set_up"],
        baseline=_figure(row, "baseline", first, who),
        value=_figure(row, "value", other, who),
        change=formats.DASH if unnamed else change(row),
        interval=interval(row),
        outcome=row["outcome"],
        outcome_text=ABOUT_THE_SAME if row["reason"] == "too_close" else OUTCOMES[row["outcome"]],
        why=why(row),
    )


def _figure(row: Json, key: str, set_up: Json, who: Who) -> str:
    if row["quantity"] == "capacity":
        return _capacity(set_up, round(row[key]), who)
    return QUANTITIES[row["quantity"]].write(row[key])


def of_users(text: str, who: Who) -> str:
    """Return a name or meaning with what the users are called."""
    return text.format(who=who, one=one_of(who))


def _capacity(set_up: Json, users: int, who: Who) -> str:
    """Return a capacity as the run's report names it: proven, probable, or only a range between two levels."""
    if between := _range(set_up, users):
        return f"probably between {between[0]:,} and {people(between[1] - 1, who)}"
    return _suggested(set_up) + people(users, who)


def _range(set_up: Json, users: int) -> tuple[int, int] | None:
    """Return the levels between which a capacity that is not proven lies, if they are too far apart for a number."""
    interval = set_up["interval"]
    if set_up["served_users"] is not None or not interval:
        return None
    return far_apart([level["users"] for level in set_up["levels"]], users, (interval[0], interval[1]))


def _suggested(set_up: Json) -> str:
    """Return how to introduce a capacity that is not proven; empty if it is."""
    if set_up["served_users"] is not None:
        return ""
    return "probably at least " if set_up["interval"] and set_up["interval"][1] is None else "probably "


def change(row: Json) -> str:
    """Return `1.24 ×`, `+3 points`; a dash where there is none."""
    if row["change"] is None or row["reason"] == "no_limit_reached" or _is_too_wide(row):
        return formats.DASH
    return formats.ratio(row["change"]) if row["scale"] == "ratio" else f"{round(100 * row['change']):+d} points"


def _is_too_wide(row: Json) -> bool:
    return is_too_wide(row["scale"], row["low"], row["high"])


def interval(row: Json) -> str:
    """Return the limits of the change; a dash without any."""
    low, high = row["low"], row["high"]
    if low is None and high is None:
        return formats.DASH
    if _is_too_wide(row):
        return TOO_WIDE
    is_ratio = row["scale"] == "ratio"
    unit = " ×" if is_ratio else " points"
    ends = [None if end is None else _limit(end, is_ratio=is_ratio) for end in (low, high)]
    if low is None:
        return f"at most {ends[1]}{unit}"
    return f"at least {ends[0]}{unit}" if high is None else f"{ends[0]} to {ends[1]}{unit}"


def _limit(end: float, *, is_ratio: bool) -> str:
    return formats.factor(end) if is_ratio else f"{round(100 * end):+d}"


def why(row: Json) -> str:
    """Return why it can't be told, or how long it would take; or why there is no verdict."""
    if row["outcome"] == "no_verdict":
        return "not comparable"
    if row["outcome"] != "cannot_tell":
        return ""
    minutes = row["minutes_more"]
    if row["reason"] == "server_changed":
        return _WHY["server_changed"]
    if minutes is not None and (minutes <= MAX_SHOWN_MINUTES or row["quantity"] == "capacity"):
        return f"{more_minutes_text(minutes)} would settle it"
    if minutes is not None:
        return f"too few data: settling it would take more than {minutes_text(MAX_SHOWN_MINUTES)}"
    return _WHY.get(row["reason"], "")


def set_up_heads(comparison: Json) -> list[str]:
    """Return the heads of `set_up_facts`."""
    return ["set-up", f"{comparison['who']} at once (95 % interval)", "verdict", "measured", "runs", "files"]


def set_up_facts(comparison: Json) -> list[list[str]]:
    """Return a row of cells for each set-up: name, people served with interval, minutes, runs."""
    first = comparison["set_ups"][0]["name"]
    points: dict[str, float] = {}
    for row in comparison["rows"]:
        if row["quantity"] == "capacity":
            points |= {first: row["baseline"], row["set_up"]: row["value"]}
    return [_facts(set_up, points.get(set_up["name"])) for set_up in comparison["set_ups"]]


def _facts(set_up: Json, point: float | None) -> list[str]:
    served, interval_of = set_up["served_users"], set_up["interval"]
    point = point if served is None else served
    people_text = formats.DASH if point is None else f"{_suggested(set_up)}{round(point):,}"
    if interval_of:
        high = "or more" if interval_of[1] is None else f"to {interval_of[1]:,}"
        people_text += f" ({interval_of[0]:,} {high})"
    if served is None and point is not None:
        people_text += ", not proven"
    measured = formats.DASH if set_up["minutes"] is None else formats.span(60 * set_up["minutes"])
    runs = ", ".join(set_up["runs"])
    return [set_up["name"], people_text, set_up["verdict"], measured, things(len(set_up["runs"]), "run"), runs]


def why_no_verdict(comparison: Json) -> str:
    """Say why no figure is called better or worse, and how to compare all the same; empty if some may be."""
    refused = comparison["must_be_equal"]
    if not refused:
        return ""
    names, waivable = listed([one["name"] for one in refused]), [one["aspect"] for one in refused]
    differ = "differ" if len(refused) > 1 or refused[0]["aspect"] in PLURAL else "differs"
    said = f"No figure is called better or worse, whatever its limits, because {names} {differ} between the set-ups."
    if not {*waivable} <= {*WAIVABLE}:
        return said
    return f"{said} If that is meant, compare with --meant {' '.join(waivable)}."


def _part_below_whole(rows: Sequence[Json]) -> bool:
    """Tell whether a share by one dimension is shown as below that of all replies at the same users."""
    shares = {(row["set_up"], row["users"], row["quantity"]): row for row in rows}
    for (set_up, users, quantity), row in shares.items():
        whole = shares.get((set_up, users, "served")) if quantity in DIMENSIONS else None
        if whole and any(row[key] < whole[key] for key in ("baseline", "value")):
            return True
    return False


def notes(comparison: Json) -> list[str]:
    """Return what a reader must know of all figures."""
    error, who = formats.percent(comparison["error"]), comparison["who"]
    refused = why_no_verdict(comparison)
    spread = (
        "Set-ups were measured repeatedly, so the limits include differences between runs."
        if comparison["between_runs"]
        else "Each set-up was measured once, so the limits don't include differences between runs, for example after "
        "a restart or at another hour. To include them, repeat the runs and pass those of one set-up joined by commas: "
        "probe compare before=RUN1,RUN2 after=RUN3,RUN4."
    )
    claim = (
        f"The chance of a wrong “better” is at most {error}, and so is that of a wrong “worse”: once for the number of "
        f"{who}, and once for all other figures together. The limits of each change allow for that, so they are wider "
        "than a 95 % interval."
    )
    found = [refused, claim, spread] if refused else [claim, spread]
    if _part_below_whole(comparison["rows"]):
        found.append(
            "A share by one dimension may lie below the share of all served replies: a reply counts for a dimension "
            "only if that is known of it, so the shares are of different replies."
        )
    if comparison["minutes_for_ten_percent"] is not None:
        minutes = minutes_text(comparison["minutes_for_ten_percent"])
        found.append(
            f"Detecting a difference of 10 % in the number of {who}, or of one {one_of(who)}, takes about {minutes} of "
            "measuring in total."
        )
    if comparison["not_checked"]:
        found.append(f"Not checked, because not every run's files say so: {', '.join(comparison['not_checked'])}.")
    return found
