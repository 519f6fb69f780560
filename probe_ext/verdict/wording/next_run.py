"""What to run next: the command that would settle or narrow the answer."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from probe_ext.load.level_plan import MAX_USERS
from probe_ext.measure.rate import PER_SECOND, Rate, in_unit_of
from probe_ext.settings.options import OPTIONS
from probe_ext.settings.readers import MAX_PAUSE_S, MIN_PAUSE_S
from probe_ext.verdict.evidence.manifest_view import mapping, mappings, number, search_of
from probe_ext.verdict.inference.level_estimates import least_proof
from probe_ext.verdict.levels.all_kinds import split_error
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, Criteria, LevelEstimate
from probe_ext.verdict.values.judgement import NextStep
from probe_ext.verdict.values.sizing_types import Team
from probe_ext.verdict.wording.early_end import minutes_left, planned, seconds_of_search
from probe_ext.workload.arrival_times import TRACE

MAX_LEVELS, FEW_LEVELS = 5, 3
MAX_SECONDS_OF_NEW_LEVELS = 600.0
"""Of several levels that were not measured yet, only one is suggested if they would take longer together."""
LONGER = 4
"""A level that no reasonable time settles is held so many times as long, which makes its interval half as wide."""
MAX_HOLD_S = 600.0
"""No level is held for longer in that case, nor where it is not known how long a proof takes."""
NARROW_SHARE = 0.1
"""An interval of rates that is no wider than this share of its lower end needs no further run."""
HOLD_S = 30.0
"""Hold of a run whose manifest does not say."""
REVISIT = {"needs_second_visit", "visits_disagree"}
"""Reasons for which a level is to be measured anew, whatever was seen so far."""
_NOT_SETTLED_BY_TIME = {"users_differ", "contradicts_higher_level"}
_OF_THE_REPORT = {"team_think_time", "price_per_hour", "window"}
_OF_A_SEARCH = {"max_users", "search_time", "precision"}
_OF_ONE_RUN = {
    *("levels", "rate", "search", "prompt_seed", "out", "force", "no_report", "warm_up"),
    *("fail_under_users", "fail_under_rate", "fail_over", "baseline", "margin"),
    *_OF_THE_REPORT,
}
"""Options that do not change what is measured."""
TAKE_THINK_TIME = {"capacity", "cold_user", "memory_wall"}
"""Scenarios with any number of users, which pause by --think-time."""


@dataclass(frozen=True)
class NextMeasurement:
    """The shortest run that would settle or narrow the answer: some levels, or a search."""

    levels: tuple[int, ...] = ()
    """empty for a search"""
    hold: float = HOLD_S
    """seconds for each level"""
    search: Mapping[str, float] = field(default_factory=dict)
    """options of a search that differ from this run's"""
    which_search: str = "a search"
    """in words, where this run was one already"""
    still_needed: str = ""
    """`7 more minutes`: what a search that ended too early still needed; empty where that is not known"""
    search_seconds: float | None = None
    """about how long a search takes from its beginning; None where that is not known"""
    targets: tuple[int, ...] = ()
    """the levels that the run is made for; the others keep what was found at the ends of the bracket"""
    settles: tuple[int, ...] = ()
    """the targets that it should settle, if their served shares are what they seem"""
    required: int | None = None
    """users, or the rate, of a gate that is not proven"""

    @property
    def minutes(self) -> int:
        """About how long the levels are measured."""
        return max(1, round(len(self.levels) * self.hold / 60))

    @property
    def seconds(self) -> float | None:
        """About how long the whole run measures; None where that is not known."""
        return len(self.levels) * self.hold if self.levels else self.search_seconds


def next_measurement(
    manifest: Mapping[str, Any], estimate: CapacityEstimate, criteria: Criteria
) -> NextMeasurement | None:
    """Return what to measure next; None where nothing is left to find out, or nothing that a short run would tell.

    A run is judged by itself, so each level is held for as long as it takes to prove it from that run alone, and the
    ends of the bracket are measured again: the next answer must not know less than this one.
    """
    if not estimate.levels or mapping(manifest.get("arrivals")).get("form") == TRACE:
        return None  # how long a replay takes, and at which rate, is the trace's, and no option's
    required = _unproven_gate(manifest, estimate)
    if required is not None:
        targets = tuple(sorted({*_to_visit_again(estimate), required}))
        return replace(_held_for(targets, manifest, estimate, criteria), required=required)
    return None if _is_settled(estimate) else _without_gate(manifest, estimate, criteria)


def _without_gate(
    manifest: Mapping[str, Any], estimate: CapacityEstimate, criteria: Criteria
) -> NextMeasurement | None:
    search = search_of(manifest)
    nothing_held = estimate.bracket[0] is None and estimate.bracket[1] != 1
    if search and not (search.get("outcome") == "precise" and nothing_held):
        further = _further_search(search)
        return further and _with_long_enough_visits(further, manifest, estimate)
    if targets := _to_visit_again(estimate) or _levels_to_measure(estimate):
        measurement = _held_for(targets, manifest, estimate, criteria)
        new = all(estimate.level(users) is None for users in targets)
        if new and len(targets) * measurement.hold > MAX_SECONDS_OF_NEW_LEVELS:
            return _held_for((targets[(len(targets) - 1) // 2],), manifest, estimate, criteria)
        return measurement
    if None not in estimate.bracket or estimate.users_differ or estimate.levels[-1].users == 1:
        return None
    return None if isinstance(estimate.levels[0].users, Rate) else NextMeasurement()


def _unproven_gate(manifest: Mapping[str, Any], estimate: CapacityEstimate) -> int | None:
    """Return the users, or the rate, of the run's gate if it is neither met nor missed, and more time may tell."""
    rates = isinstance(estimate.levels[0].users, Rate)
    given = number(_given(manifest), "fail_under_rate" if rates else "fail_under_users", 0.0)
    if not 0 < given < math.inf:
        return None
    required = Rate.of(given) if rates else int(given)
    held, failed = estimate.bracket
    decided = (held is not None and held >= required) or (failed is not None and failed <= required)
    level = estimate.level(required)
    differ = level is not None and bool(_NOT_SETTLED_BY_TIME & {*level.reasons})
    return None if decided or differ else required


def _is_settled(estimate: CapacityEstimate) -> bool:
    """Tell whether nothing was measured, or the capacity is known to the user."""
    if estimate.interval is None or not estimate.levels:
        return True
    low, high = estimate.interval
    doubtful = any("needs_second_visit" in level.reasons for level in estimate.levels)
    wide = NARROW_SHARE * low if isinstance(low, Rate) else 0
    return high is not None and high - low <= wide and not doubtful


def _held_for(
    targets: tuple[int, ...], manifest: Mapping[str, Any], estimate: CapacityEstimate, criteria: Criteria
) -> NextMeasurement:
    """Hold the targets for as long as they need, and with them the ends of the bracket, and the likely answer."""
    likely = estimate.suggestion.users if estimate.suggestion else 0
    kept = {users for users in estimate.bracket if users is not None}
    kept |= {level.users for level in estimate.levels if level.users == likely and level.state == "unproven"}
    levels = tuple(sorted({*targets, *kept}))
    needed = [_seconds_to_prove(users, estimate, criteria) for users in targets]
    needed += [_seconds_to_repeat(users, estimate, criteria) for users in kept]
    settles = tuple(users for users in targets if _is_settled_by_time(estimate.level(users)))
    hold = float(math.ceil(max(usual_hold(manifest), *needed)))
    return NextMeasurement(levels, hold, targets=targets, settles=settles)


def _is_settled_by_time(level: LevelEstimate | None) -> bool:
    """Tell whether a level that was measured would be proven if it were held long enough."""
    return level is not None and level.state == "unproven" and not is_too_close(level)


def _to_visit_again(estimate: CapacityEstimate) -> tuple[int, ...]:
    """Return a level to visit again and the next higher one, so that a run of its own can prove it."""
    again = next((level.users for level in estimate.levels if REVISIT & {*level.reasons}), None)
    if again is None:
        return ()
    higher = next((level.users for level in estimate.levels if level.users > again), None)
    return again, in_unit_of(again, 2 * again) if higher is None else higher


def _further_search(search: Mapping[str, Any]) -> NextMeasurement | None:
    """Continue a search that ended at one of its limits, repeat one that ended early or was widened afterwards."""
    outcome = search.get("outcome")
    if outcome == "max_users":
        higher = {"max_users": int(2 * number(search, "max_users", 1.0))}
        return NextMeasurement(search=higher, which_search="a search that may go higher")
    if outcome == "time":
        longer = {"search_time": _search_time(search)}
        return NextMeasurement(search=longer, which_search="a longer search", **_forecast(search))
    if outcome in {"precise", "unreachable"}:
        return None
    return NextMeasurement(which_search="a longer search", **_forecast(search))


def _with_long_enough_visits(
    further: NextMeasurement, manifest: Mapping[str, Any], estimate: CapacityEstimate
) -> NextMeasurement:
    """Hold levels longer where users or visits differ: a short visit shows users in only one order in the queue.

    How long such a search takes is not known.
    """
    if not (estimate.users_differ or estimate.unsteady):
        return further
    usual = usual_hold(manifest)
    hold = max(usual, min(LONGER * usual, MAX_HOLD_S))
    return replace(further, search={**further.search, "hold": hold}, search_seconds=None)


def _forecast(search: Mapping[str, Any]) -> dict[str, Any]:
    return {"still_needed": minutes_left(search), "search_seconds": seconds_of_search(search)}


def _search_time(search: Mapping[str, Any]) -> float:
    """Return how long a search would probably take from its beginning, in whole minutes; at most twice as long."""
    longest = number(search, "longest", HOLD_S)
    left = number(search, "seconds_left", longest)
    return min(2 * longest, 60.0 * math.ceil((longest + left) / 60)) if left > 0 else 2 * longest


def _levels_to_measure(estimate: CapacityEstimate) -> tuple[int, ...]:
    """Return the levels that would narrow the answer most; none where whatever is open is too close to call."""
    close = {level.users for level in estimate.levels if is_too_close(level)}
    held, failed = estimate.bracket
    top = estimate.levels[-1].users
    if held is not None and failed is not None:
        return _between(estimate, close)
    if held == top:
        return in_unit_of(top, 2 * top), in_unit_of(top, 4 * top)
    most = _below_differing(estimate, top)
    open_levels = [
        level.users
        for level in estimate.levels
        if level.state == "unproven" and level.users not in close and level.users <= most
    ]
    likely = estimate.suggestion.users if estimate.suggestion else 0
    fine = [users for users in open_levels if users <= likely]
    if open_levels:
        return (max(fine) if fine else min(open_levels),)
    return _below(failed) if failed == estimate.levels[0].users else ()


def _below_differing(estimate: CapacityEstimate, most: int) -> int:
    """Return at most so many users: fewer than at any level where they are not served alike.

    At such a level and above it, those who are served worse are among them, and more time does not help.
    """
    return min([most, *(level.users - 1 for level in estimate.levels if "users_differ" in level.reasons)])


def _between(estimate: CapacityEstimate, close: set[int]) -> tuple[int, ...]:
    """Return levels within the interval that cut it into about equal parts around the estimate."""
    held, failed = estimate.bracket
    low, high = estimate.interval or (held or 0, None)
    high = (failed or low + 1) - 1 if high is None else high
    high = _below_differing(estimate, high)
    if high <= low:
        return ()
    if isinstance(estimate.levels[0].users, Rate):
        return _rates_between(low, high)
    if high - low <= FEW_LEVELS:
        return tuple(users for users in range(low + 1, high + 1) if users not in close)
    guess = estimate.suggestion.users if estimate.suggestion else low
    guess = min(max(guess, low + 1), high)
    wanted = {(low + guess + 1) // 2, guess, (guess + high + 1) // 2}
    return tuple(sorted(users for users in wanted if low < users <= high and users not in close))


def _rates_between(low: int, high: int) -> tuple[int, ...]:
    """Return rates that cut the interval into equal parts."""
    wanted = [low + (high - low) * part // (FEW_LEVELS + 1) for part in range(1, FEW_LEVELS + 1)]
    return tuple(sorted({_round_rate(rate) for rate in wanted if rate > 0}))


def _round_rate(rate: int) -> Rate:
    """Return a rate of two digits, which is easier to read and as good."""
    value = rate / PER_SECOND
    return Rate.of(round(value, 1 - math.floor(math.log10(value))))


def _below(failed: int) -> tuple[int, ...]:
    if isinstance(failed, Rate):
        return tuple(sorted({_round_rate(failed // part) for part in (8, 4, 2)}))
    if failed <= FEW_LEVELS + 1:
        return tuple(range(1, failed))
    return tuple(sorted({max(1, failed // part) for part in (8, 4, 2)}))


def _seconds_to_prove(users: int, estimate: CapacityEstimate, criteria: Criteria) -> float:
    """Return how long the level must be held if its served share is what it seems; if all goes well where unknown."""
    least = _least_seconds(users, estimate, criteria)
    level = estimate.level(users)
    if level is None or level.state != "unproven" or REVISIT & {*level.reasons}:
        return least
    if level.seconds_needed is None:
        return max(least, level.seconds, min(LONGER * level.seconds, MAX_HOLD_S))
    return max(least, level.seconds + level.seconds_needed)


def _seconds_to_repeat(users: int, estimate: CapacityEstimate, criteria: Criteria) -> float:
    """Return how long a level that was measured must be held to show again what it showed."""
    level, least = estimate.level(users), _least_seconds(users, estimate, criteria)
    return least if level is None else min(least, level.seconds)


def _least_seconds(users: int, estimate: CapacityEstimate, criteria: Criteria) -> float:
    """Return the shortest time to prove a level by itself, of the kind of user that takes longest."""
    parts = [*estimate.parts.values()] or [estimate]
    return max(_least_seconds_of(users, part, split_error(criteria, len(parts))) for part in parts)


def _least_seconds_of(users: int, estimate: CapacityEstimate, criteria: Criteria) -> float:
    nearest = min(estimate.levels, key=lambda level: abs(level.users - users))
    people = nearest.people or nearest.users
    expected = users if nearest.people is None else max(1, round(users * people / nearest.users))
    proof = least_proof(expected, nearest.seconds * people / nearest.replies, criteria)
    return proof.seconds if proof else MAX_HOLD_S


def is_too_close(level: LevelEstimate) -> bool:
    """Tell whether a level is open and would stay so, however long it was held within reason."""
    if level.state != "unproven" or REVISIT & {*level.reasons}:
        return False
    return bool(_NOT_SETTLED_BY_TIME & {*level.reasons}) or level.seconds_needed is None


def next_step(measurement: NextMeasurement | None, estimate: CapacityEstimate) -> NextStep | None:
    """Return the level of this measurement that would narrow the answer most, and why; None for a search."""
    if measurement is None or not measurement.levels:
        return None
    targets, hold = measurement.targets, measurement.hold
    lowest, highest = estimate.levels[0].users, estimate.levels[-1].users
    if again := _to_visit_again(estimate):
        return NextStep(again[0], hold, "second_visit")
    if measurement.required is not None:
        return NextStep(measurement.required, hold, "gate")
    if targets[0] > highest:
        return NextStep(targets[0], hold, "above")
    if targets[-1] < lowest:
        return NextStep(_nearest(targets, lowest // 2), hold, "below")
    likely = estimate.suggestion.users if estimate.suggestion else 0
    return NextStep(_nearest(targets, likely), hold, "narrow" if None in estimate.bracket else "inside_bracket")


def _nearest(levels: Sequence[int], users: int) -> int:
    return min(levels, key=lambda level: abs(level - users))


def next_command(
    manifest: Mapping[str, Any], estimate: CapacityEstimate, measurement: NextMeasurement | None, *, invalid: bool
) -> str | None:
    """Return the `probe run` that makes this measurement; None where there is none.

    A run that is invalid, or ended before anything was measured, is to be repeated as it was.
    """
    options = dict(_given(manifest))
    ended_early = not estimate.levels and manifest.get("end_reason") in _ENDED_EARLY
    if invalid or ended_early:
        searched = bool(search_of(manifest))
        levels: Sequence[int] = planned(manifest) or _thin([level.users for level in estimate.levels])
    elif measurement is not None:
        searched, levels = not measurement.levels, measurement.levels
        options.update(measurement.search if searched else {"hold": measurement.hold})
    else:
        return None
    if not levels and not searched:
        return None
    return _probe_run(manifest, options, levels, search=searched)


def team_command(manifest: Mapping[str, Any], of: Team, criteria: Criteria) -> str | None:
    """Return the `probe run` that would prove both sizes of a computed team, if every reply is served.

    None where users cannot be made to pause by an option, and where no reasonable time is enough.
    """
    if not _takes_think_time(manifest) or not MIN_PAUSE_S <= of.think_time <= MAX_PAUSE_S:
        return None
    sizes = sorted({of.people_low, of.people_high})
    proofs = [least_proof(users, of.reply_seconds + of.think_time, criteria) for users in sizes if users <= MAX_USERS]
    needed = [proof.seconds for proof in proofs if proof is not None]
    if len(needed) < len(sizes):
        return None
    hold = float(math.ceil(max(usual_hold(manifest), *needed)))
    return _probe_run(manifest, {**_given(manifest), "hold": hold, "think_time": of.think_time}, sizes)


def _takes_think_time(manifest: Mapping[str, Any]) -> bool:
    """Tell whether --think-time decides the pauses: not those of a workload, an open stream or a user's own file."""
    others = mapping(manifest.get("workload")) or manifest.get("arrivals") or _given(manifest).get("rate")
    return not others and _scenario(manifest) in TAKE_THINK_TIME


def _probe_run(
    manifest: Mapping[str, Any], options: Mapping[str, Any], levels: Sequence[int], *, search: bool = False
) -> str:
    """Return the command for these levels, or for a search, against the same server with these options."""
    host = mapping(manifest.get("target")).get("host")
    of_kinds = any(kind.get("host") for kind in mappings(mapping(manifest.get("workload")).get("kinds")))
    where = [] if of_kinds else ["--host", str(host or "URL")]  # else the workload's file says where
    option = "--rate" if levels and isinstance(levels[0], Rate) else "--levels"
    asked = ["--search"] if search else [option, ",".join(str(users) for users in levels)]
    same = _same_options(options, _OF_ONE_RUN if search else _OF_ONE_RUN | _OF_A_SEARCH)
    return shlex.join(["probe", "run", _scenario(manifest), *where, *asked, *same])


_ENDED_EARLY = {"interrupted", "terminated", "workers_lost", "workers_left", "prompts_changed"}


def usual_hold(manifest: Mapping[str, Any]) -> float:
    """Return the seconds for which the run held a level."""
    return number(mapping(manifest.get("plan")), "hold", number(_given(manifest), "hold", HOLD_S))


def _scenario(manifest: Mapping[str, Any]) -> str:
    """Return the name of a scenario of the package, or the file of a user's own."""
    file = str(manifest.get("locustfile") or "")
    return file if "/" in file else str(manifest.get("scenario") or "capacity")


def _given(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options of the run; of a damaged manifest, none."""
    return mapping(manifest.get("options"))


def _same_options(given: Mapping[str, Any], left_out: set[str]) -> list[str]:
    """Return the options that differ from their defaults: another run must not measure something else."""
    differing = []
    for option in OPTIONS:
        value = given.get(option.name)
        value = tuple(value) if isinstance(value, list) else value  # JSON has no tuples
        usual = option.default if isinstance(option.default, bool) else option.read(option.default)
        if option.name in left_out or not _plain(value) or value == usual:
            continue
        several = value if option.repeatable and isinstance(value, tuple) else (value,)
        differing += [option.flag if one is True else f"{option.flag}={_text(one)}" for one in several]
    return differing


def _plain(value: object) -> bool:
    """Tell whether a value can be that of an option; a damaged manifest may hold anything."""
    parts = value if isinstance(value, list | tuple) else [value]
    return value is not None and all(isinstance(part, str | int | float) for part in parts)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(str(part) for part in value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _thin(users: list[int]) -> list[int]:
    """Return at most MAX_LEVELS of them, from the lowest to the highest."""
    if len(users) <= MAX_LEVELS:
        return users
    return [users[round(i * (len(users) - 1) / (MAX_LEVELS - 1))] for i in range(MAX_LEVELS)]
