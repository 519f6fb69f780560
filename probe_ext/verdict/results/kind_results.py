"""The result of each kind of user of a workload, or of each request name of a locustfile."""

from collections.abc import Sequence

from probe_ext.verdict.grading.kind_profiles import OTHERS, Kind
from probe_ext.verdict.levels.dimension_estimates import KindEstimates
from probe_ext.verdict.results.mix_cost import mix_cost
from probe_ext.verdict.values.capacity_estimate import LevelEstimate
from probe_ext.verdict.values.kind_result import KindCost, KindLevel, KindResult

MIN_NAME_REPLIES = 10
"""Judged replies of a request name that is shown apart."""


def kind_results(stated: Sequence[Kind], estimated: Sequence[KindEstimates]) -> tuple[KindResult, ...]:
    """Return a result for each kind of the workload, also for a stated one of which nothing was measured."""
    known = {one.kind.name: one for one in estimated}
    shown = [kind for kind in stated if kind.name in known or kind.name != OTHERS]
    costs = _costs(estimated)
    return tuple(_result(kind, known.get(kind.name), costs.get(kind.name), by_workload=True) for kind in shown)


def name_results(estimated: Sequence[KindEstimates]) -> tuple[KindResult, ...]:
    """Return a result for each request name with enough replies; none unless at least two have."""
    enough = [one for one in estimated if _replies(one) >= MIN_NAME_REPLIES]
    if len(enough) < 2:
        return ()
    costs = _costs(enough)
    return tuple(_result(one.kind, one, costs.get(one.kind.name), by_workload=False) for one in enough)


def _costs(estimated: Sequence[KindEstimates]) -> dict[str, KindCost]:
    """Return what a user of each kind costs in users of the most frequent one, as far as the mix tells."""
    if len(estimated) < 2:
        return {}
    visits = [one.visits for one in estimated]
    users = [sum(visit.people or 0 for visit in of_kind) for of_kind in visits]
    most = users.index(max(users))
    found = {}
    for place, one in enumerate(estimated):
        cost = None if place == most else mix_cost(visits, place, most, one.estimates.limit)
        if cost is not None:
            found[one.kind.name] = KindCost(estimated[most].kind.name, cost.users, cost.low, cost.high)
    return found


def _replies(one: KindEstimates) -> int:
    return sum(level.replies for level in one.estimates.overall.levels)


def _result(kind: Kind, one: KindEstimates | None, cost: KindCost | None, *, by_workload: bool) -> KindResult:
    overall = one.estimates.overall if one else None
    return KindResult(
        name=kind.name,
        source="workload" if by_workload else "request_name",
        share=kind.share,
        fixed_users=kind.users,
        think_time=kind.think_time,
        profile=kind.profile.model_dump(mode="json"),
        replies=_replies(one) if one else 0,
        served_users=overall.served_users if overall else None,
        interval=overall.interval if overall else None,
        bracket=overall.bracket if overall else (None, None),
        breaks_first=one.estimates.first_limit if one else None,
        groups=overall.groups if overall else None,
        cost=cost,
        levels=tuple(_level(level) for level in overall.levels) if overall else (),
    )


def _level(level: LevelEstimate) -> KindLevel:
    return KindLevel(
        users=level.users,
        users_of_kind=level.people if level.people is not None else level.users,
        state=level.state,
        reasons=level.reasons,
        served_share=level.served_share,
        served_share_low=level.share_low,
        served_share_high=level.share_high,
        broken_share=level.broken_share,
        replies=level.replies,
    )
