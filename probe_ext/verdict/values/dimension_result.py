"""Capacity by one dimension alone."""

from dataclasses import dataclass

from probe_ext.verdict.values.json_types import Bracket, Count, Fraction, Interval, State


@dataclass(frozen=True)
class DimensionLevel:
    """One number of users judged by one dimension alone."""

    users: Count
    state: State
    served_share: Fraction


@dataclass(frozen=True)
class DimensionResult:
    """How many users one dimension alone serves."""

    served_users: Count | None
    """null where nothing is proven"""
    interval: Interval | None
    """95 % interval of that number"""
    bracket: Bracket
    levels: tuple[DimensionLevel, ...]
    """by rising number of users"""
