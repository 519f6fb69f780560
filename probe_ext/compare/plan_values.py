"""Result of a plan: values only. `Plan.to_json()` is `plan.json`.

None is missing, never zero. Money is in the currency of the prices.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from probe_ext.verdict.values.judgement import plain_json

PLAN_SCHEMA = 1
Basis = Literal["measured", "computed", "unknown"]


@dataclass(frozen=True)
class PlannedSetUp:
    """What one set-up needs to serve the people."""

    name: str
    people_per_replica: int | None
    """that one server is proven to serve, or computed from what is proven"""
    basis: Basis
    why: str
    """why it is not known; empty otherwise"""
    replicas: int | None
    spare_people: int | None
    """more people until the replicas' proven capacity is reached"""
    first_limit: str | None
    """the first limit beyond it; null where the run found no limit"""
    price_per_hour: float | None
    """of one replica"""
    cost_per_hour: float | None
    """of all replicas"""
    cost_per_person_hour: float | None
    """of each of the people"""
    cost_per_served_user_hour: float | None
    """price ÷ users proven served at once"""
    cost_per_million_tokens: float | None
    """at the common level"""
    cost_per_token_per_s: float | None
    """hourly price of each token per second, at the common level"""


@dataclass(frozen=True)
class OutageShare:
    """What an outage shows in a rolling window."""

    seconds: float
    window: float
    even: float
    """share of failed requests where they arrive evenly"""
    waiting: float
    """the same where a failing attempt takes twice as long as a served one"""
    clean_after: float
    """seconds after the outage until the window has none of it"""


@dataclass(frozen=True)
class Plan:
    """Which set-up serves the people, and at what cost."""

    sentence: str
    people: int
    think_time: float | None
    """seconds; null: all ask again as soon as they have the reply"""
    cheapest: str | None
    """the set-up that costs least of those known to serve the people; null without prices"""
    common_level: int | None
    """the largest number of users that is proven served by every set-up, where their cost per token is compared"""
    set_ups: tuple[PlannedSetUp, ...]
    change: str
    """which measured change improved most, or why that can't be said; empty for a single set-up"""
    outage: OutageShare | None

    def to_json(self) -> dict[str, Any]:
        """Return `plan.json` as plain types."""
        content: dict[str, Any] = plain_json({"schema": PLAN_SCHEMA, **asdict(self)})
        return content
