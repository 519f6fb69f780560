"""Capacity by one dimension alone."""

from dataclasses import dataclass

from probe_ext.verdict.values.json_types import Bracket, Fraction, Interval, Load, State


@dataclass(frozen=True)
class DimensionLevel:
    """One number of users judged by one dimension alone."""

    users: Load
    state: State
    served_share: Fraction


@dataclass(frozen=True)
class DimensionResult:
    """How many users, or which rate, one dimension alone serves; in the unit of `load`."""

    served_users: Load | None
    """null where nothing is proven"""
    interval: Interval | None
    """95 % interval of that number"""
    bracket: Bracket
    levels: tuple[DimensionLevel, ...]
    """by rising number of users"""
