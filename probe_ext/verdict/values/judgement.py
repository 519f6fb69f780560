"""The verdict. `Judgement.to_json()` is `capacity.json`; its JSON Schema is derived from the types here.

Seconds, tokens per second, shares of 1. None is missing, never zero.
"""

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from probe_ext.verdict.values.answer import Answer
from probe_ext.verdict.values.capacity_estimate import Dispersion, GroupCapacity, Suggestion
from probe_ext.verdict.values.cold_user_gap import ColdUserGap
from probe_ext.verdict.values.dimension_result import DimensionResult
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.gpu_types import GpuUse
from probe_ext.verdict.values.json_types import (
    Amount,
    Bracket,
    Count,
    Dimension,
    Fraction,
    Interval,
    Limits,
    Load,
    RateSuggestion,
    Text,
    in_json,
)
from probe_ext.verdict.values.kind_result import KindResult
from probe_ext.verdict.values.level_result import LevelResult, ShortVisit, TtftByLength
from probe_ext.verdict.values.pause_types import Pauses
from probe_ext.verdict.values.rolling_types import Rolling
from probe_ext.verdict.values.ruling_types import Diagnosis, KvHeadroom
from probe_ext.verdict.values.sizing_types import Cost, Goodput, Team, ThinkTime

SCHEMA = 2
DECIMALS = 6


@dataclass(frozen=True)
class NextStep:
    """The level that would narrow the answer most, of those that the next command measures."""

    users: Load
    """or requests per second, by `load`"""
    seconds: Amount
    """for which each level is held"""
    reason: Literal["second_visit", "inside_bracket", "below", "above", "narrow", "gate"]


@dataclass(frozen=True)
class Mode:
    """The result with reasoning shown, or hidden."""

    served_users: Load | None
    bracket: Bracket
    breaks_first: Dimension | None


@dataclass(frozen=True)
class ByReasoning:
    """The result for both ways of treating reasoning text."""

    judged: Literal["shown", "hidden"]
    """the one that the verdict uses"""
    shown: Mode
    """reasoning counts as text"""
    hidden: Mode
    """only text outside reasoning counts"""


@dataclass(frozen=True)
class TraceReplay:
    """A trace that was replayed. Null where something is not known, or does not apply."""

    form: Text
    """`mooncake`, `burstgpt` or `tap`"""
    requests: Count
    """of the trace, or the part that was replayed, without those that were left out"""
    sessions: Count
    seconds: Amount
    """from its first request to its last, and the mean time between two"""
    left_out: Count
    """requests that could not be replayed: too long for the context, without a prompt, or without a reply"""
    speeds: tuple[Amount, ...]
    """of the passes; empty where users took its sessions in turn"""
    replayed: Count
    """rows of the run, those that were not sent included"""
    not_sent: Count
    shared_meant: Fraction | None
    """of all tokens of the prompts that were sent, those with which earlier prompts of the trace began, too"""
    shared_found: Fraction | None
    """of the same tokens, those that the server found in its prefix cache"""
    behind_median: Amount | None
    """seconds by which requests were sent later than recorded"""
    behind_p95: Amount | None
    behind_max: Amount | None
    generator_late_max: Amount | None
    """the part of the worst that the load generator itself caused"""
    sentence: Text


@dataclass(frozen=True)
class Judgement:
    """How many concurrent users, or which rate of requests, a server keeps served.

    In a run with an open stream (`load`: `rate`), `served_users`, `estimate`, `interval` and `suggestion` are null, as
    are both ends of `bracket`; `served_rate`, `rate_interval`, `rate_bracket` and `rate_suggestion` hold the answer.
    Levels that other keys name are then requests per second.
    """

    verdict: Literal["valid", "invalid", "unproven"]
    load: Literal["users", "rate"]
    """what the levels hold: numbers of users who wait for replies, or rates of an open stream of requests"""
    who: Literal["people", "agents"]
    """what the users are called: people, unless the workload says that all of them are agents"""
    sentence: Text
    """the answer in plain words"""
    answer: Answer
    """the same in parts"""
    served_users: Count | None
    """capacity: the estimate where the data place it between levels, else the largest level proven to be served; 0
    where 1 user is proven not to be; null where nothing is proven to be served"""
    estimate: Amount | None
    """where the served share crosses what a person needs; null where the data do not place it"""
    interval: Interval | None
    """95 % interval of the capacity; a null upper end: no upper bound was found"""
    bracket: Bracket
    suggestion: Suggestion | None
    """what the data suggest, proven or not"""
    breaks_first: Dimension | None
    """the dimension that limits first; null where no single one does, or nothing falls short"""
    levels: tuple[LevelResult, ...]
    dimensions: dict[Dimension, DimensionResult]
    """capacity by each dimension alone"""
    kinds: tuple[KindResult, ...]
    """capacity by each kind of user, or each request name; empty where there is only one"""
    cold_user: ColdUserGap
    pauses: Pauses
    goodput: Goodput | None
    """null where no level attains the goal"""
    think_time: ThinkTime | None
    """null where users ask again as soon as a reply has ended"""
    team: Team | None
    """null without a think time, where nothing is proven, or where the run's own users paused"""
    cost: Cost | None
    """null without a price, or where nothing is proven"""
    gpu: GpuUse | None
    """null where no GPU was read"""
    trace: TraceReplay | None
    """what was replayed of a trace; null where none was"""
    next_step: NextStep | None
    """the measurement that would narrow the answer most"""
    next_command: str | None
    """the command that would prove or narrow the answer"""
    next_seconds: Amount | None
    """about how long that command measures; null where it is not known, as of most searches"""
    dispersion: Dispersion
    drift: tuple[Load, ...]
    """levels whose visits differ by more than chance"""
    contradictions: tuple[Load, ...]
    """levels that did worse than a higher one by more than chance"""
    disturbed: tuple[Load, ...]
    """levels with a visit that was left out because of one bad stretch, perhaps another client's load"""
    groups: GroupCapacity | None
    """where some users are served worse than the others: each group's capacity"""
    reasoning: ByReasoning
    profile: Annotated[dict[str, Any], Limits(required=("name",))]
    """the SLO profile that the run was judged by"""
    findings: tuple[Finding, ...]
    diagnosis: Diagnosis
    kv_headroom: KvHeadroom
    replies: Count
    """replies of the whole run"""
    replies_outside: Count
    """replies sent outside every level, while the number of users changed or settled"""
    served_rate: Amount | None = None
    """as `served_users`, in requests per second; null where users wait for replies, or nothing is proven"""
    rate_interval: tuple[Amount, Amount | None] | None = None
    rate_bracket: tuple[Amount | None, Amount | None] | None = None
    """highest rate proven to be served, lowest proven not to be"""
    rate_suggestion: RateSuggestion | None = None
    rolling: Rolling | None = None
    """null for a run shorter than two windows"""
    short_visits: tuple[ShortVisit, ...] = ()
    """what a search saw on its way up, in order of time"""
    ttft_by_length: TtftByLength | None = None
    """null where no level has enough replies of prompts of different, known lengths"""

    def to_view(self) -> dict[str, Any]:
        """Return plain types, rounded to six decimals, without NaN, but rates as `Rate` in the place of users."""
        return {"schema": SCHEMA, **plain_json(asdict(self))}

    def to_json(self) -> dict[str, Any]:
        """Return `capacity.json`."""
        return in_json(self.to_view())


def plain_json(value: Any) -> Any:
    """Turn tuples into lists, and numbers that are not finite into None."""
    if isinstance(value, dict):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    if isinstance(value, float):
        return round(value, DECIMALS) if math.isfinite(value) else None
    return value
