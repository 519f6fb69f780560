"""What the GPUs themselves say about a limit: calm, busy, at the power limit, or throttled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from probe_ext.verdict.phrasing.formats import count, percent
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.server.gpu_series import GpuState, busiest
from probe_ext.verdict.server.server_series import Engine
from probe_ext.verdict.values.ruling_types import Fact

MAX_CALM = 0.5
"""Utilisation of the busiest GPU below which the GPU is not the limit: utilisation overstates how busy it is."""
MIN_BUSY = 0.9
MIN_SLOWED = 0.1
"""Share of a level's samples in which the GPU reports a slowdown."""
MIN_CLOCK_DROP = 0.08
"""Relative fall of the clock within one level; boost clocks vary by less."""
MIN_HEATED, HOT = 3.0, 80.0
"""Rise of the temperature, and temperature, that go with a clock that falls for heat; °C."""
AT_POWER_LIMIT = 0.97
"""Power over its limit."""
MIN_WORKING = 0.3
"""Utilisation below which a lower clock only means that there is little to do."""


@dataclass(frozen=True)
class Throttle:
    """A level in which a GPU lowered its clock."""

    users: int
    cause: Literal["heat", "power"]
    reported: bool
    """whether the GPU itself gives this reason"""
    dropped: bool
    """whether its clock was seen to fall during the level"""
    state: GpuState


@dataclass(frozen=True)
class GpuLoad:
    """All GPUs in one level."""

    states: Mapping[Engine, GpuState]

    @property
    def busiest(self) -> GpuState | None:
        """The GPU that works most."""
        return busiest(self.states)

    @property
    def calm(self) -> bool | None:
        """Whether every GPU had much time to spare; None where that is not known."""
        top = self.busiest
        return None if top is None or top.utilisation is None else top.utilisation < MAX_CALM

    @property
    def busy(self) -> bool | None:
        """Whether the busiest GPU worked nearly all the time; no sign either way in between."""
        top = self.busiest
        return True if top and top.utilisation is not None and top.utilisation >= MIN_BUSY else None

    @property
    def at_power_limit(self) -> bool:
        """Whether a GPU drew all the power that its limit allows."""
        return any(_at_power_limit(gpu) for gpu in self.states.values())

    @property
    def steady_clock(self) -> bool | None:
        """Whether the busiest GPU kept its clock; None where that is not known."""
        top = self.busiest
        drop = None if top is None else _drop(top)
        return None if drop is None else abs(drop) < MIN_CLOCK_DROP


def throttled(users: int, load: GpuLoad) -> Throttle | None:
    """Return the throttled GPU of a level, the one that lost most of its clock; None if there is none."""
    found = [hit for gpu in load.states.values() if (hit := _throttled(users, gpu)) is not None]
    return max(found, key=lambda hit: (hit.cause == "heat", _drop(hit.state) or 0.0), default=None)


def _throttled(users: int, gpu: GpuState) -> Throttle | None:
    if gpu.utilisation is not None and gpu.utilisation < MIN_WORKING:
        return None
    drop = _drop(gpu)
    dropped = drop is not None and drop >= MIN_CLOCK_DROP
    if gpu.slowed is not None and gpu.slowed >= MIN_SLOWED:
        return Throttle(users, "heat", True, dropped, gpu)
    if not dropped:
        return None
    if _at_power_limit(gpu):
        return Throttle(users, "power", bool(gpu.power_capped), True, gpu)
    warmer = gpu.heated is not None and gpu.heated >= MIN_HEATED
    hot = gpu.temperature is not None and gpu.temperature >= HOT
    # Without the GPU's own reason, only a fall that goes with heat counts.
    return Throttle(users, "heat", False, True, gpu) if gpu.slowed is None and (warmer or hot) else None


def _drop(gpu: GpuState) -> float | None:
    if not gpu.clock_start or gpu.clock_end is None:
        return None
    return 1 - gpu.clock_end / gpu.clock_start


def _at_power_limit(gpu: GpuState) -> bool:
    if gpu.power_capped is not None and gpu.power_capped >= MIN_SLOWED:
        return True
    return bool(gpu.power_limit and gpu.power_at_end and gpu.power_at_end >= AT_POWER_LIMIT * gpu.power_limit)


def facts_of_gpu(users: int, gpu: GpuState | None) -> list[Fact]:
    """Return what is known of a GPU in a level."""
    if gpu is None:
        return []
    at = f", at {things(users, 'user')}"
    named: Sequence[tuple[str, float | None, str]] = (
        ("mean utilisation of the busiest GPU", gpu.utilisation, "fraction"),
        ("GPU clock at the start of the level", gpu.clock_start, "MHz"),
        ("GPU clock at its end", gpu.clock_end, "MHz"),
        ("GPU temperature, peak", gpu.temperature, "°C"),
        ("GPU power, mean", gpu.power, "watts"),
        ("GPU power limit", gpu.power_limit, "watts"),
        ("samples in which the GPU reports a slowdown", gpu.slowed, "fraction"),
    )
    return [Fact(name + at, value, unit) for name, value, unit in named if value is not None]


def why_throttled(hit: Throttle) -> str:
    """Say in one sentence what the GPU did."""
    gpu, at = hit.state, things(hit.users, "user")
    fell = (
        f"the GPU's clock fell from {count(gpu.clock_start)} to {count(gpu.clock_end)} MHz"
        if hit.dropped
        else "the GPU reports that it lowers its clock"
    )
    if hit.cause == "power":
        limit = f" of {count(gpu.power_limit)} W" if gpu.power_limit else ""
        return f"At {at}, {fell} as its power reached the limit{limit}."
    heat = f" at up to {count(gpu.temperature)} °C" if gpu.temperature is not None else ""
    own = f", for heat or by its hardware in {percent(gpu.slowed)} of samples" if hit.reported else ""
    return f"At {at}, {fell}{heat}{own}."
