"""Rows of a comparison in words: what each quantity is called, and how its values are written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from probe_ext.compare.comparison_sentence import minutes_text
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import people, things
from probe_ext.verdict.results.team_size import money

Json = Mapping[str, Any]
MAX_SHOWN_MINUTES = 240
"""what takes longer is not worth announcing for a single figure"""


@dataclass(frozen=True)
class Shown:
    """How a quantity is shown."""

    name: str
    write: Callable[[float], str]
    meaning: str


QUANTITIES: Mapping[str, Shown] = {
    "capacity": Shown("people at once", lambda value: people(round(value)), "the largest number of people served"),
    "served": Shown("served replies", formats.percent, "share of replies within all bounds of the SLO profile"),
    "first_word": Shown("… by first word", formats.percent, "the same by the wait for the first word alone"),
    "typing": Shown("… by typing speed", formats.percent, "the same by typing speed alone"),
    "silence": Shown("… by silence", formats.percent, "the same by silent pauses alone"),
    "answer": Shown("… by complete answer", formats.percent, "the same by complete answers alone"),
    "throughput": Shown("throughput", lambda value: f"{formats.rate(value)} tok/s", "output tokens of all users"),
    "ttft_p50": Shown("TTFT p50", formats.seconds, "time to first token, half of the replies"),
    "ttft_p95": Shown("TTFT p95", formats.seconds, "time to first token, 95 % of the replies"),
    "decode_rate_p50": Shown("typing speed p50", lambda value: f"{formats.rate(value)} tok/s", "of one reply, median"),
    "longest_gap_p95": Shown("longest silence p95", formats.seconds, "longest gap of a reply, 95 % of the replies"),
    "cold_warm_ratio": Shown("cold ÷ warm", formats.decimals, "wait of a cold user over that of a warm one"),
    "joules_per_1000_tokens": Shown("energy", lambda value: f"{formats.decimals(value)} J/1,000 tok", "GPUs alone"),
    "cost_per_user_hour": Shown("cost per person", lambda value: f"{money(value)}/h", "of each person served at once"),
    "cost_per_million_tokens": Shown("cost per million tokens", money, "output tokens, at this load"),
}
OUTCOMES = {"better": "better", "worse": "worse", "cannot_tell": "can't tell", "no_verdict": "no verdict"}
_WHY = {
    "too_few": "too few replies",
    "too_close": "no difference of this size matters",
    "gap_between_levels": "levels too far apart",
    "no_limit_reached": "no limit reached",
    "server_changed": "a server changed during its run",
    "no_noise_known": "its noise is not known",
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


def shown(row: Json) -> ShownRow:
    """Put a row of `compare.json` into words."""
    quantity = QUANTITIES[row["quantity"]]
    return ShownRow(
        name=quantity.name,
        users=formats.DASH if row["users"] is None else formats.count(row["users"]),
        set_up=row["set_up"],
        baseline=quantity.write(row["baseline"]),
        value=quantity.write(row["value"]),
        change=change(row),
        interval=interval(row),
        outcome=row["outcome"],
        outcome_text=OUTCOMES[row["outcome"]],
        why=why(row),
    )


def change(row: Json) -> str:
    """Return `1.24 ×`, `+3 points`; a dash where there is none."""
    if row["change"] is None:
        return formats.DASH
    return formats.ratio(row["change"]) if row["scale"] == "ratio" else f"{round(100 * row['change']):+d} points"


def interval(row: Json) -> str:
    """Return the limits of the change; a dash without any."""
    low, high = row["low"], row["high"]
    if low is None and high is None:
        return formats.DASH
    times = 1 if row["scale"] == "ratio" else 100
    text = "{:.2f}" if times == 1 else "{:+.0f}"
    if low is None:
        return f"≤ {text.format(times * high)}"
    return (
        f"≥ {text.format(times * low)}"
        if high is None
        else f"{text.format(times * low)} to {text.format(times * high)}"
    )


def why(row: Json) -> str:
    """Return why it can't be told, or how long it would take."""
    if row["outcome"] != "cannot_tell":
        return ""
    minutes = row["minutes_more"]
    if row["reason"] == "server_changed":
        return _WHY["server_changed"]
    if minutes is not None and (minutes <= MAX_SHOWN_MINUTES or row["quantity"] == "capacity"):
        return f"about {minutes_text(minutes)} more would"
    if minutes is not None:
        return _WHY["too_close"]
    return _WHY.get(row["reason"], "")


def set_up_facts(set_up: Json) -> list[str]:
    """Return the cells of a set-up's row: name, people served with interval, minutes, runs."""
    served, interval_of = set_up["served_users"], set_up["interval"]
    people_text = formats.DASH if served is None else formats.count(served)
    if interval_of:
        high = "or more" if interval_of[1] is None else f"to {interval_of[1]:,}"
        people_text += f" ({interval_of[0]:,} {high})"
    minutes = formats.DASH if set_up["minutes"] is None else f"{formats.count(set_up['minutes'])} min"
    runs = ", ".join(set_up["runs"])
    return [set_up["name"], people_text, set_up["verdict"], minutes, things(len(set_up["runs"]), "run"), runs]


def notes(comparison: Json) -> list[str]:
    """Return what a reader must know of all figures."""
    error = formats.percent(comparison["error"])
    spread = (
        "Repeated runs were compared, so the spread between runs is part of the noise."
        if comparison["between_runs"]
        else "There is one run of each, so what differs from run to run (a restart, the hour, other prompts) is not "
        "part of the noise. Repeat the runs, and give them together: RUN,RUN."
    )
    claim = (
        f"A wrong “better” has a chance of at most {error}, and a wrong “worse” the same: for the number of people, "
        f"and for the other {comparison['questions']} questions together. The limits allow for that, so they are "
        "wider than those of each figure alone."
    )
    found = [claim, spread]
    if comparison["minutes_for_ten_percent"] is not None:
        minutes = minutes_text(comparison["minutes_for_ten_percent"])
        found.append(f"About {minutes} of measured time in all would tell 10 % in people at once, or one person.")
    if comparison["not_checked"]:
        found.append(f"Not known of every run, so not checked: {', '.join(comparison['not_checked'])}.")
    return found
