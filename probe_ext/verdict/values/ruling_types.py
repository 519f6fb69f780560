"""Results of the diagnosis and of the KV-cache forecast. None is missing, never zero."""

from dataclasses import dataclass
from typing import Annotated, Literal

from probe_ext.verdict.values.json_types import Amount, Bracket, Count, Limits, Load, Text

RULE_NAMES = (
    "client_too_slow",
    "other_load",
    "response_cache",
    "cut_answers",
    "buffered_stream",
    "quota",
    "gateway",
    "slow_path",
    "throttling",
    "uneven_balancer",
    "slow_replica",
    "serialised",
    "batch_limit",
    "memory_wall",
    "prefill_bound",
    "ceiling",
    "throughput_limit",
    "shared_cpu",
    "not_loaded",
)
RuleName = Annotated[str, Limits(one_of=RULE_NAMES)]
RulingState = Literal["holds", "absent", "unknown"]
Confidence = Literal["low", "medium", "high"]
Agreement = Literal["agrees", "too_low", "too_high"]


@dataclass(frozen=True)
class Fact:
    """One figure that a rule relies on."""

    name: Text
    value: float | None
    unit: str
    """empty for a plain number"""


@dataclass(frozen=True)
class Ruling:
    """Result of one rule of the diagnosis."""

    rule: RuleName
    state: RulingState
    why: Text
    """one or two sentences"""
    label: str = ""
    """where the rule holds, a clause that names the limit"""
    needs: str = ""
    """where the state is unknown, what would be needed to know it"""
    from_users: Load | None = None
    """lowest number of users, or rate, at which the rule was seen to hold"""
    evidence: tuple[Fact, ...] = ()
    confidence: Confidence | None = None
    """confidence that the rule holds; null where it does not hold or is unknown"""
    confidence_from: str = ""
    """which signs the confidence rests on"""
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What limits the server."""

    sentence: Text
    bounds: tuple[RuleName, ...]
    """rules that hold, the first to look at first"""
    rules: tuple[Ruling, ...]
    """the result of every rule"""


@dataclass(frozen=True)
class Forecast:
    """How many users the KV cache has room for, by its size."""

    prompts: Literal["distinct", "shared"]
    """whether every prompt is stored separately, or a common prefix only once"""
    prompt_tokens: Amount
    shared_tokens: Amount
    reply_tokens: Amount
    resident_tokens: Amount
    """tokens that one reply holds when it ends, without the shared prefix"""
    users_low: Count
    """if all replies ended at the same time"""
    users_high: Count
    """if replies are spread evenly from start to end, with the usual fluctuation and the think times of the run"""


@dataclass(frozen=True)
class KvHeadroom:
    """How close the KV cache is to full: measured, and forecast from its size."""

    sentence: Text
    users: Load | None
    """highest level without preemptions and without requests waiting for memory"""
    kv_usage_max: Amount | None
    """peak KV-cache usage of that level"""
    near_saturation: bool | None
    """whether one more user may fill the cache at that level"""
    saturation: Bracket
    """that level, and the first above it that ran out of memory; null where there is no such level"""
    kv_tokens: Count | None
    """tokens that the caches of all engines hold, by their configuration"""
    forecasts: tuple[Forecast, ...]
    users_by_gauge: Count | None
    """number of users that fills the cache on average, extrapolated from its usage"""
    replies: tuple[Count, Count] | None
    """replies that fit at once, fewest and most: by the forecast where it agrees with the run, else by usage"""
    agreement: Agreement | None
    """whether the last forecast agrees with what the run saw; null where one of them is missing"""
