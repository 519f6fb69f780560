"""Capacity by one dimension alone."""

from dataclasses import dataclass

from probe_ext.verdict.values.json_types import Bracket, Count, Fraction
from probe_ext.verdict.values.level_result import State


@dataclass(frozen=True)
class DimensionLevel:
    """One level judged by one dimension alone."""

    users: Count
    band: bool
    state: State
    served_share: Fraction | None
    users_served: Count
    users_judged: Count
    """users with at least one reply judged by this dimension"""


@dataclass(frozen=True)
class DimensionResult:
    """How many users one dimension alone serves."""

    served_users: Count | None
    """0 where the lowest level fails; null where nothing is proven"""
    bracket: Bracket
    levels: tuple[DimensionLevel, ...]
