"""What the GPUs did, and the energy that replies and users cost. None is missing, never zero."""

from dataclasses import dataclass
from typing import Literal

from probe_ext.verdict.values.json_types import Amount, Count, Fraction, Load, Text


@dataclass(frozen=True)
class GpuLevel:
    """The GPUs in one level's measured part."""

    users: Load
    t_start: float
    """start of the measured part, seconds of the run"""
    utilisation: Fraction | None
    """mean, of the busiest GPU"""
    clock: Amount | None
    """mean MHz, of the busiest GPU"""
    temperature_max: Amount | None
    """peak in °C, of the hottest GPU"""
    memory_used_max: Fraction | None
    """peak share of the memory in use, of the fullest GPU"""
    power: Amount | None
    """mean watts, all GPUs together"""
    joules_per_1000_tokens: Amount | None
    """energy of all GPUs per thousand output tokens of all users"""


@dataclass(frozen=True)
class GpuUse:
    """What the GPUs did, by level, and the energy at the proven capacity."""

    gpus: Count
    """number of GPUs that are counted"""
    update_seconds: Amount | None
    """how often the exporter's values change; null where they never do"""
    energy_from: Literal["counter", "power"] | None
    """source of the energy: the GPUs' own counter, or mean power times duration; null where neither is usable"""
    why_no_energy: str
    """reason where the energy is missing, else empty"""
    by_level: tuple[GpuLevel, ...]
    users: Load | None
    """the proven capacity, which the two following figures hold for; null where nothing is proven"""
    joules_per_1000_tokens: Amount | None
    joules_per_user_hour: Amount | None
    """energy of all GPUs per concurrent user served, for one hour"""
    sentence: Text
