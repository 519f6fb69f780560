"""How many replicas of which set-up serve so many people, at what cost, with what to spare?

Goes by what is proven; of repeated runs, by the one that proves least. People who think between two questions come from
the run itself if its users paused as long, else from the cautious team size of the report. Each replica serves its own
share of the people: a balancer that sends every request to the least busy replica does better, one that splits them
unevenly does worse.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.compare.compare_set_ups import compare
from probe_ext.compare.comparison_sentence import change_text, interval_text
from probe_ext.compare.plan_values import Basis, OutageShare, Plan, PlannedSetUp
from probe_ext.compare.set_up import Run, SetUp
from probe_ext.verdict.phrasing.formats import seconds, span
from probe_ext.verdict.phrasing.plurals import are_or_is, cause, people, things
from probe_ext.verdict.results.team_size import money

ALIKE_PAUSE = 1.25
"""ratio up to which a run's pauses count as those that are planned for"""
SLOW_FAILURE = 2.0
"""how many times as long as a served attempt a failing one takes, where users wait for a time-out"""


@dataclass(frozen=True)
class Demand:
    """Who is to be served."""

    people: int
    think_time: float | None
    """seconds between a reply and the next question"""


def plan(set_ups: Sequence[SetUp], demand: Demand, outage: OutageShare | None = None) -> Plan:
    """Size every set-up. Their runs must have been judged with the think time of `demand`."""
    level = common_level(set_ups)
    planned = tuple(_planned(set_up, demand, level) for set_up in set_ups)
    serving = [one for one in planned if one.cost_per_hour is not None]
    cheapest = min(serving, key=lambda one: one.cost_per_hour or 0.0, default=None)
    return Plan(
        sentence=_sentence(planned, cheapest, demand),
        people=demand.people,
        think_time=demand.think_time,
        cheapest=cheapest.name if cheapest else None,
        common_level=level,
        set_ups=planned,
        change=_change(set_ups),
        outage=outage,
    )


def outage_share(outage: float, window: float) -> OutageShare:
    """Return what an outage of so many seconds shows in a rolling window.

    Of requests that arrive evenly, the outage ÷ the window. Users who wait for a reply send less while a server is
    down: a failing attempt that takes k times as long as a served one counts 1 ÷ k.
    """
    down = min(outage, window)
    rest = window - down
    return OutageShare(outage, window, down / window, down / (down + SLOW_FAILURE * rest), window)


def common_level(set_ups: Sequence[SetUp]) -> int | None:
    """Return the largest number of users that every set-up is proven to serve."""
    held = [_held(_cautious(set_up).capacity) for set_up in set_ups]
    return max(set.intersection(*held), default=None) if held else None


def _held(capacity: Mapping[str, Any]) -> set[int]:
    return {level["users"] for level in capacity["levels"] if level["state"] == "held" and not level["band"]}


def _cautious(set_up: SetUp) -> Run:
    """Return the run that proves least."""
    return min(set_up.runs, key=lambda run: run.capacity["bracket"][0] or 0)


def _planned(set_up: SetUp, demand: Demand, level: int | None) -> PlannedSetUp:
    run = _cautious(set_up)
    capacity, price = run.capacity, run.price_per_hour
    each, basis, why = _people_per_replica(set_up, demand)
    replicas = None if not each else math.ceil(demand.people / each)
    cost = None if replicas is None or price is None else replicas * price
    held = None if set_up.verdict == "invalid" else capacity["bracket"][0]
    speed = None if level is None else _tokens_per_s(capacity, level)
    return PlannedSetUp(
        name=set_up.name,
        people_per_replica=each,
        basis=basis,
        why=why,
        replicas=replicas,
        spare_people=None if replicas is None or not each else replicas * each - demand.people,
        first_limit=capacity.get("breaks_first"),
        price_per_hour=price,
        cost_per_hour=cost,
        cost_per_person_hour=None if cost is None else cost / demand.people,
        cost_per_served_user_hour=price / held if price is not None and held else None,
        cost_per_million_tokens=price / (3600 * speed) * 1e6 if price is not None and speed else None,
        cost_per_token_per_s=price / speed if price is not None and speed else None,
    )


def _people_per_replica(set_up: SetUp, demand: Demand) -> tuple[int | None, Basis, str]:
    """Return how many people one server serves, how that is known, and why it isn't."""
    capacity = _cautious(set_up).capacity
    held, paused, team = capacity["bracket"][0], capacity.get("think_time"), capacity.get("team")
    if set_up.verdict == "invalid" or not held:
        return None, "unknown", "a run is invalid" if held else "no number of users is proven to be served"
    if paused is not None and not _alike(paused["mean"], demand.think_time):
        return None, "unknown", f"its users paused {seconds(paused['mean'])}, so it says nothing of other pauses"
    if paused is not None or demand.think_time is None:
        return held, "measured", ""
    if team is None:
        return None, "unknown", "no reply was complete at the proven capacity"
    return int(team["people_low"]), "computed", ""


def _alike(pause: float, wanted: float | None) -> bool:
    return wanted is not None and 1 / ALIKE_PAUSE <= pause / wanted <= ALIKE_PAUSE


def _tokens_per_s(capacity: Mapping[str, Any], users: int) -> float | None:
    found = [level["total_tokens_per_s"] for level in capacity["levels"] if level["users"] == users]
    known = [rate for rate in found if rate]
    return sum(known) / len(known) if known else None


def _sentence(planned: Sequence[PlannedSetUp], cheapest: PlannedSetUp | None, demand: Demand) -> str:
    who = people(demand.people)
    if demand.think_time is not None:
        who += f" who pause {seconds(demand.think_time)} between a reply and the next question"
    known = [one for one in planned if one.replicas is not None]
    if not known:
        return f"It is not known which set-up serves {who}: {'; '.join(f'{one.name}: {one.why}' for one in planned)}."
    best = cheapest or min(known, key=lambda one: one.replicas or 0)
    cost = "" if best.cost_per_hour is None else f" for {money(best.cost_per_hour)} an hour"
    first = best.first_limit
    limit = "no limit was found" if first is None else f"{cause(first)} {are_or_is(first)} the first limit"
    computed = " That is computed from people who don't pause; a run with pauses would prove it." * (
        best.basis == "computed"
    )
    return (
        f"{things(best.replicas or 0, 'replica')} of {best.name} {'serves' if best.replicas == 1 else 'serve'} {who}"
        f"{cost}, with room for {best.spare_people:,} more; beyond that, {limit}.{computed}"
    )


def _change(set_ups: Sequence[SetUp]) -> str:
    """Return which set-up serves most more people than the first."""
    if len(set_ups) < 2:
        return ""
    comparison = compare(set_ups)
    if comparison.must_be_equal:
        return f"{comparison.sentence} See probe compare."
    better = [row for row in comparison.rows if row.quantity == "capacity" and row.outcome == "better"]
    if not better:
        return f"No change is proven to serve more people at once than “{set_ups[0].name}”."
    most = max(better, key=lambda row: row.change or 0.0)
    by = "" if most.change is None else f": {change_text(most.change)} ({interval_text(most)})"
    return f"“{most.set_up}” improved most on “{set_ups[0].name}”{by}."


def outage_text(outage: OutageShare) -> str:
    """Say what an outage costs in a rolling window."""
    even, waiting = (f"{100 * share:.0f} %" for share in (outage.even, outage.waiting))
    return (
        f"An outage of {span(outage.seconds)} shows as {even} failed requests in a rolling window of "
        f"{span(outage.window)} if they arrive evenly, and as {waiting} if a failing attempt takes twice as long as a "
        f"served one; the window is clean {span(outage.clean_after)} after it."
    )
