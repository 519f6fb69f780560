"""What the diagnosis and the edge say, as values. None is missing, never zero."""

from dataclasses import dataclass
from typing import Literal

RulingState = Literal["holds", "absent", "unknown"]
Confidence = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class Fact:
    """One figure that a rule went by."""

    name: str
    value: float
    unit: str
    """empty for a bare number"""


@dataclass(frozen=True)
class Ruling:
    """What one rule says."""

    rule: str
    state: RulingState
    why: str
    """a sentence or two"""
    says: str = ""
    """where it holds, a clause that names the bound"""
    needs: str = ""
    """where it cannot be known, what it would take"""
    from_users: int | None = None
    """the lowest number of users at which it was seen to hold"""
    evidence: tuple[Fact, ...] = ()
    confidence: Confidence | None = None
    """how sure it is that it holds; None where it does not, or is not known"""
    confidence_from: str = ""
    """how that was reached: which signs agree"""
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What the rules say."""

    sentence: str
    bounds: tuple[str, ...]
    """rules that hold, the one to look at first in front"""
    rules: tuple[Ruling, ...]
    """one of each"""


@dataclass(frozen=True)
class Forecast:
    """How many users the KV cache would hold, by arithmetic."""

    prompts: Literal["distinct", "shared"]
    """whether every prompt is held by itself, or the beginning that all share only once"""
    prompt_tokens: float
    shared_tokens: float
    reply_tokens: float
    resident_tokens: float
    """of one reply when it ends, less what it shares"""
    users_low: int
    """all of them at the end of their replies at once"""
    users_high: int
    """replies spread evenly from beginning to end, with their usual fluctuation, and people thinking as they did"""


@dataclass(frozen=True)
class Edge:
    """Where the KV cache runs full: how near the best level stands to it, and what arithmetic says."""

    sentence: str
    users: int | None
    """the highest level measured below the wall: nobody put on hold or kept waiting for memory"""
    kv_usage_max: float | None
    """of that level"""
    on_edge: bool | None
    """whether that level stands on the edge: one user more may tip it over"""
    wall: tuple[int | None, int | None]
    """that level, and the first behind it at which memory ran out; None where none was seen"""
    kv_tokens: int | None
    """what the cache holds, all engines together, by its configuration"""
    forecasts: tuple[Forecast, ...]
    users_by_gauge: int | None
    """with how many the cache is full on average, from how its use grew with the replies that ran"""
