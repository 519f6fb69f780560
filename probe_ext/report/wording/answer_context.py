"""The answer around its sentence: what is proven, the interval, and what makes the answer doubtful.

Page, terminal and summary take it from here, so that they cannot differ.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.report.wording import shared_sentences
from probe_ext.report.wording.level_names import VISITS, Level, by_number, label, without_visit
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.levels.shared_trait import ERROR
from probe_ext.verdict.levels.visits import criteria_of
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import capitalised, listed, more, things
from probe_ext.verdict.phrasing.plurals import levels as levels_named
from probe_ext.verdict.results.mix_cost import MIN_SHARE_RANGE
from probe_ext.verdict.values.answer import Answer
from probe_ext.verdict.values.capacity_estimate import SharedTrait
from probe_ext.verdict.wording.capacity_phrase import interval_text
from probe_ext.verdict.wording.shared_trait_phrase import NOTHING_SHARED, shared_in_words
from probe_ext.verdict.wording.unproven_level import reason_in_words, unprovable

Capacity = Mapping[str, Any]

MAX_ROUNDING_USERS = 1.5
"""By which a kind's number of users may differ from its mean share: Locust deals whole users."""
_MAX_OTHERS = 3
"""numbers of users that share a proven state and are named"""
_SLOW_REPLICA = "A slow replica behind a sticky load balancer looks like this."
_IN_STEP = (
    "Users who keep asking in step with each other may look like this: each keeps a good or a bad place in the queue "
    "for a while. Longer levels (--hold), or users who think between requests, mix them."
)
_PURPOSES = {
    "second_visit": "To rule out a disturbance",
    "inside_bracket": "To narrow the answer",
    "below": "To find a level that holds",
    "above": "To find the limit",
    "narrow": "To prove more",
    "gate": "To prove what the gate requires",
}


def kinds_are_users(capacity: Capacity) -> bool:
    """Tell whether the kinds are kinds of user, all of which the answer needs, rather than names of requests."""
    return any(kind["source"] == "workload" for kind in capacity["kinds"])


def used_profiles(capacity: Capacity, profile: SloProfile) -> list[SloProfile]:
    """Return the profiles that judged the replies, each once: those of the kinds of user, or the run's."""
    if not kinds_are_users(capacity):
        return [profile]
    kinds = [SloProfile.model_validate(kind["profile"]) for kind in capacity["kinds"]]
    return list({one.name: one for one in kinds}.values())


def shown_interval(capacity: Capacity) -> tuple[int, int | None] | None:
    """Return the interval, if it bounds a valid answer."""
    low, high = capacity["interval"] or (0, None)
    served = capacity["served_users"]
    if capacity["verdict"] == "invalid" or (not low and high is None):
        return None
    return (low if served is None else min(low, served), high)


def interval(capacity: Capacity) -> str:
    """Return `95 % interval: 43 to 46`; empty without one, or where the answer's first words give it already."""
    found = shown_interval(capacity)
    is_said = found is not None and found[1] is not None and Answer(**capacity["answer"]).names_suggestion
    return "" if is_said else interval_label(capacity)


def interval_label(capacity: Capacity) -> str:
    """Return `95 % interval: 43 to 46`; empty without one."""
    found = shown_interval(capacity)
    return f"95 % interval: {interval_text(found)}" if found else ""


def mark(capacity: Capacity) -> tuple[int, str] | None:
    """Return the number of users that the picture marks, with its label; None where there is none."""
    if capacity["verdict"] == "invalid":
        return None
    served, suggestion = capacity["served_users"], capacity["suggestion"]
    if served:
        word = "proven" if served == capacity["bracket"][0] else "about"
        return served, f"{word} {formats.count(served)}"
    if served is None and Answer(**capacity["answer"]).names_suggestion:
        return suggestion["users"], f"probably {formats.count(suggestion['users'])}, not proven"
    return None


def proven(capacity: Capacity) -> str:
    """Return `Proven: 8 holds, 16 fails, as does 32. Not proven: 10 and 12 (too close to call).`; empty without levels.

    Bands of a ramp are named as in the picture: `13–15`.
    """
    if not capacity["levels"]:
        return ""
    names = {level["users"]: label(without_visit(level)) for level in capacity["levels"]}
    known = [
        _all_that(names.get(users, formats.count(users)), capacity, state)
        for users, state in zip(capacity["bracket"], ("held", "failed"), strict=True)
        if users is not None
    ]
    open_ones: dict[str, list[str]] = {}
    for level, *_ in by_number(capacity["levels"]):
        if level["state"] == "unproven":
            open_ones.setdefault(
                reason_in_words(level["reasons"], level["served_share"], level["broken_share"]), []
            ).append(names[level["users"]])
    between = "; " if any(", " in one for one in known) else ", "
    parts = [f"Proven: {between.join(known) or 'nothing'}."]
    if open_ones:
        parts.append(f"Not proven: {'; '.join(f'{listed(users)} ({why})' for why, users in open_ones.items())}.")
    return " ".join(parts)


def _all_that(end: str, capacity: Capacity, state: str) -> str:
    """Return `16 fails, as does 32`: the end of the bracket, and all other numbers which the picture shows so."""
    names = [label(without_visit(level)) for level, *_ in by_number(capacity["levels"]) if level["state"] == state]
    others = [name for name in names if name != end]
    said = f"{end} {shared_sentences.STATE_WORDS[state]}"
    if len(others) > _MAX_OTHERS:
        return f"{said}, as do {len(others)} {'lower' if state == 'held' else 'higher'} numbers"
    return f"{said}, as {'does' if len(others) == 1 else 'do'} {listed(others)}" if others else said


def purpose(capacity: Capacity, *, searched: bool = False) -> str:
    """Say what the next command is for. `searched`: this run was a search, which a further one does not continue."""
    if capacity["verdict"] == "invalid":
        return "To repeat it"
    if capacity["next_step"]:
        what = _PURPOSES[capacity["next_step"]["reason"]]
    elif searched and _is_search(capacity["next_command"] or ""):
        what = "A new search, from the beginning, as none can be continued"
    else:
        what = "To measure again"
    return f"{what}{_expected_time(capacity)}"


def another_machine_advice(capacity: Capacity) -> str:
    """Say that the next run belongs on another machine, if this one shared the server's; empty otherwise."""
    if not any(one["check"] == "own_machine" and one["state"] == "fail" for one in capacity["findings"]):
        return ""
    return "If you can, run it on another machine than the server's, with the address by which it reaches the server."


def _is_search(command: str) -> bool:
    return "--search" in command.split()


def _expected_time(capacity: Capacity) -> str:
    """Return ` (about 5 minutes)`; of a search without a forecast, that it is not known; empty without a command."""
    if capacity["next_command"] is None:
        return ""
    if capacity["next_seconds"] is None:
        is_search = _is_search(capacity["next_command"])
        return " (how long a search takes is not known beforehand)" if is_search else ""
    return f" (about {things(max(1, round(capacity['next_seconds'] / 60)), 'minute')})"


def doubts(capacity: Capacity) -> list[tuple[str, str]]:
    """Return what makes the answer doubtful, with a title and what it means for the answer."""
    kinds = (_unprovable, _others, _differences, _mix, _drift, _unsteady_service, _contradictions, _disturbances)
    return [doubt for kind in kinds for doubt in kind(capacity)]


def _unprovable(capacity: Capacity) -> list[tuple[str, str]]:
    profile = SloProfile.model_validate(capacity["profile"])
    title, meaning = unprovable(profile.name, criteria_of(profile))
    return [(title, meaning)] if title else []


def _others(capacity: Capacity) -> list[tuple[str, str]]:
    numbers = [level["users"] for level, *_ in by_number(capacity["levels"]) if "other_load" in level["reasons"]]
    if not numbers:
        return []
    title = f"Others used the server at {_numbers(numbers)}."
    return [(title, "What was measured there is not judged: repeat it while nobody else uses the server.")]


def _differences(capacity: Capacity) -> list[tuple[str, str]]:
    groups = capacity["groups"]
    if groups is not None:  # the sentence says how many users, and what they get
        known = _group_capacities(groups)
    else:
        known = [said for level, *_ in by_number(capacity["levels"])[::-1] if (said := worse_group(level))][:1]
    if groups is None and not known:
        return []
    title, shared = "Users are not served alike.", groups and groups["shared"]
    if shared:
        words = capitalised(shared_in_words(SharedTrait(**shared), groups["worse_users"]))
        return [(title, " ".join([f"{words}. The chance of that is below {formats.percent(ERROR)}.", *known]))]
    cause = f"{_possible_cause(capacity)} {NOTHING_SHARED if groups else ''}".strip()
    return [(title, " ".join([*known, cause]))]


def _possible_cause(capacity: Capacity) -> str:
    """Return what may make users differ: no slow replica where the diagnosis has ruled that out."""
    rulings = {ruling["rule"]: ruling["state"] for ruling in capacity["diagnosis"]["rules"]}
    return _IN_STEP if rulings.get("slow_replica") == "absent" else _SLOW_REPLICA


def worse_group(level: Level) -> str:
    """Return `At 8 users, 61 % of the replies of 2 users were served, 97 % of the others'.`; empty of users alike.

    Several visits may have had different users: then it is `about 2`.
    """
    group = level["worse_group"]
    if group is None:
        return ""
    share, others = (formats.percent(round(group[key], 3)) for key in ("share", "others_share"))
    about = "about " if level.get(VISITS, 1) > 1 else ""
    of = f"of the replies of {about}{things(group['users'], 'user')} were served"
    return f"At {things(level['users'], 'user')}, {share} {of}, {others} of the others'."


def _group_capacities(groups: Mapping[str, Any]) -> list[str]:
    """Return each group's own capacity, in users of both groups."""
    names = (("worse", "the worse group"), ("others", "the others"))
    spans = [(groups[f"{key}_interval"], name) for key, name in names]
    known = [f"{interval_text(tuple(span))} for {name}" for span, name in spans if span and span != [0, None]]
    return [f"By their own replies, the capacity (95 %) is {listed(known)}."] if known else []


def _mix(capacity: Capacity) -> list[tuple[str, str]]:
    """Say that numbers of users stand for different mixes, where they do by more than rounding makes them."""
    if not kinds_are_users(capacity):
        return []
    counts = {k["name"]: {one["users"]: one["users_of_kind"] for one in k["levels"]} for k in capacity["kinds"]}
    spans = {name: _share_span(of_kind) for name, of_kind in counts.items()}
    varied = [f"{name} had {_percents(*span)} of the users" for name, span in spans.items() if span is not None]
    if not varied:
        return []
    title = f"The mix of kinds varied between levels: {listed(varied)}."
    return [(title, "A number of users then stands for the mix that was measured with it, and not for others.")]


def _share_span(of_kind: Mapping[int, int]) -> tuple[float, float] | None:
    """Return the lowest and highest share of the users that a kind had; None where only rounding made it vary."""
    if not of_kind:
        return None
    mean = sum(of_kind.values()) / max(1, sum(of_kind))
    shares = [own / users for users, own in of_kind.items()]
    rounded = all(abs(own - mean * users) <= MAX_ROUNDING_USERS for users, own in of_kind.items())
    return None if rounded or max(shares) - min(shares) < MIN_SHARE_RANGE else (min(shares), max(shares))


def _percents(low: float, high: float) -> str:
    return f"{formats.percent(low)} to {formats.percent(high)}"


def _drift(capacity: Capacity) -> list[tuple[str, str]]:
    if not capacity["drift"]:
        return []
    title = f"The server changed during the run: visits to {_numbers(capacity['drift'])} differ by more than chance."
    return [(title, "The answer mixes both conditions. Find out what changed, then repeat the run.")]


def _unsteady_service(capacity: Capacity) -> list[tuple[str, str]]:
    """Say what the check of visits found where neither the first and the last differ nor one of them is left out."""
    if capacity["drift"] or capacity["disturbed"]:
        return []
    found = [one["why"] for one in capacity["findings"] if (one["check"], one["state"]) == ("drift", "fail")]
    return [
        ("Service was not the same at each visit.", f"{why} The answer is of all visits together.") for why in found
    ]


def _contradictions(capacity: Capacity) -> list[tuple[str, str]]:
    if not capacity["contradictions"]:
        return []
    numbers = _numbers(capacity["contradictions"])
    title = f"Service at {numbers} was worse than with {more(capacity['contradictions'][0])}."
    return [(title, "Load does not explain that, so these replies prove nothing. Look for another cause, then repeat.")]


def _disturbances(capacity: Capacity) -> list[tuple[str, str]]:
    numbers = [
        level["users"] for level, *_ in by_number(capacity["levels"]) if "needs_second_visit" in level["reasons"]
    ]
    if not numbers:
        return []
    title = f"One bad stretch makes {_numbers(numbers)} fall short."
    return [(title, "It may be another client's load, so nothing is proven there until a second visit.")]


def _numbers(users: Sequence[int]) -> str:
    return levels_named(users)
