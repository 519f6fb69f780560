"""What one kind of user got, by its own profile."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from probe_ext.verdict.values.capacity_estimate import GroupCapacity, Reason
from probe_ext.verdict.values.json_types import (
    Amount,
    Bracket,
    Count,
    Dimension,
    Fraction,
    Interval,
    Limits,
    Load,
    State,
    Text,
)


@dataclass(frozen=True)
class KindLevel:
    """One number of users, judged by the replies of one kind alone."""

    users: Load
    """of all kinds together; or the rate"""
    users_of_kind: Count
    """of this kind, with a reply there; of an open stream about how many of its replies are in flight"""
    state: State
    reasons: tuple[Reason, ...]
    """why it is unproven; empty otherwise"""
    served_share: Fraction
    served_share_low: Fraction
    """lower end of its 95 % interval"""
    served_share_high: Fraction
    broken_share: Fraction
    replies: Count
    """judged, of this kind"""


@dataclass(frozen=True)
class KindCost:
    """How heavy one user of a kind is, where the run varied the mix of kinds."""

    of: Text
    """the kind that it is expressed in: that with the most users"""
    users: Amount
    """of that kind, that load the server as much as one of this"""
    low: Amount
    """lower end of its 95 % interval"""
    high: Amount


@dataclass(frozen=True)
class KindResult:
    """How many users of all kinds there may be until this kind is not served any more."""

    name: Text
    source: Literal["workload", "request_name"]
    """a kind of user of the workload, or a name that the locustfile gives to its requests"""
    share: Fraction | None
    """of the users, as the workload states it"""
    fixed_users: Count | None
    """the number of users, where the workload states that instead"""
    think_time: Amount | None
    """mean seconds between a reply and the next request, as the workload states it"""
    profile: Annotated[dict[str, Any], Limits(required=("name",))]
    """the SLO profile that its replies were judged by"""
    replies: Count
    """judged, in all levels; 0 if none of this kind was measured"""
    served_users: Load | None
    """users of all kinds together with whom this kind is served; null where nothing is proven"""
    interval: Interval | None
    bracket: Bracket
    breaks_first: Dimension | None
    groups: GroupCapacity | None
    """where some users of this kind are served worse than its others"""
    cost: KindCost | None
    """null where the mix did not vary enough to tell, and of the kind that others are expressed in"""
    levels: tuple[KindLevel, ...]
