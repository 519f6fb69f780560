"""Energy per token and per served user, and what the GPUs did in each level.

- Joules per thousand tokens = 1,000 × E ÷ n: E is the energy of all counted GPUs in a level's measured part, in
  joules, n the output tokens of all users that arrived in it.
- Joules per served user-hour = P × 3,600 s ÷ N: P is the GPUs' mean power in watts at the proven capacity of N users.
  Divided by 3,600 it is watt-hours per user and hour.

E is the rise of the GPUs' own energy counter, else mean power × duration. It is that of the whole boards, idle power
included, and of nothing else: CPU, memory, network and cooling are not in it. The definitions follow the use of energy
per token in MLPerf Power (arXiv:2410.12032), over users instead of queries.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.measure.rate import Rate
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mapping
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.phrasing.formats import count, decimals
from probe_ext.verdict.phrasing.plurals import Who, one_of, people, things, who_pause
from probe_ext.verdict.server.gpu_series import (
    Energy,
    Gpu,
    GpuState,
    busiest,
    energy,
    read_gpus,
    state,
    update_interval,
)
from probe_ext.verdict.server.server_series import Engine
from probe_ext.verdict.values.gpu_types import GpuLevel, GpuUse
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.sizing_types import ThinkTime

SECONDS_PER_HOUR = 3600.0


def _unread(manifest: Mapping[str, Any], gpus: Mapping[Engine, Gpu]) -> tuple[str, ...]:
    """Return the exporters that were to be read (`--gpu-metrics`) and never were: their GPUs' energy is missing."""
    given = mapping(manifest.get("options")).get("gpu_metrics")
    urls = [str(url).partition("#")[0] for url in given] if isinstance(given, list) else []
    return tuple(url for url in urls if url not in {read for read, _ in gpus})


def gpu_use(
    evidence: Evidence,
    levels: Sequence[LevelResult],
    proven: int | None,
    paused: ThinkTime | None = None,
    who: Who = "people",
) -> GpuUse | None:
    """Return what the GPUs did; None where none was read. `proven`: the proven capacity, in users."""
    gpus = read_gpus(evidence.gpu)
    if not gpus:
        return None
    unread = _unread(evidence.manifest, gpus)
    incomplete = Energy(None, None, f"{unread[0]} could not be read") if unread else None
    energies = [incomplete or energy(gpus, _span(level)) for level in levels]
    at_capacity = [
        (level, found)
        for level, found in zip(levels, energies, strict=True)
        if level.users == proven and level.state == "held"
    ]
    per_tokens, per_user_hour = _at_capacity(at_capacity, proven)
    sources = {found.source for found in energies if found.source is not None}
    missing = next((found.why for found in energies if found.joules is None), "no level was measured")
    return GpuUse(
        gpus=len(gpus),
        update_seconds=max((i for gpu in gpus.values() if (i := update_interval(gpu)) is not None), default=None),
        energy_from=min(sources, default=None),
        why_no_energy="" if energies and all(found.joules is not None for found in energies) else missing,
        by_level=tuple(_level(gpus, level, found) for level, found in zip(levels, energies, strict=True)),
        users=proven if at_capacity else None,
        joules_per_1000_tokens=per_tokens,
        joules_per_user_hour=per_user_hour,
        sentence=_sentence(len(gpus), proven, per_tokens, per_user_hour, missing, paused, who),
    )


def _span(level: LevelResult) -> Level:
    return Level(level.users, level.users_low, level.users_high, level.t_start, level.t_end, level.band)


def _level(gpus: Mapping[Engine, Gpu], level: LevelResult, found: Energy) -> GpuLevel:
    span = _span(level)
    states = {name: state(gpu, span) for name, gpu in gpus.items()}
    top = busiest(states)
    return GpuLevel(
        users=level.users,
        t_start=level.t_start,
        utilisation=top.utilisation if top else None,
        clock=top.clock if top else None,
        temperature_max=_most(states, "temperature"),
        memory_used_max=_most(states, "memory"),
        power=_total_power(states, found, span),
        joules_per_1000_tokens=_per_tokens([(level, found)]),
    )


def _most(states: Mapping[Engine, GpuState], key: str) -> float | None:
    return max((value for gpu in states.values() if (value := getattr(gpu, key)) is not None), default=None)


def _total_power(states: Mapping[Engine, GpuState], found: Energy, span: Level) -> float | None:
    """Return the mean power of all GPUs: from their energy where it is known, else only if every GPU reports it."""
    if found.joules is not None:
        return found.joules / span.seconds
    known = [gpu.power for gpu in states.values() if gpu.power is not None]
    return sum(known) if len(known) == len(states) else None


def _per_tokens(levels: Sequence[tuple[LevelResult, Energy]]) -> float | None:
    """Return joules per thousand output tokens over all of these visits."""
    joules = tokens = 0.0
    for level, found in levels:
        if found.joules is None or not level.total_tokens_per_s:
            return None
        joules += found.joules
        tokens += level.total_tokens_per_s * (level.t_end - level.t_start)
    return 1000 * joules / tokens if tokens else None


def _at_capacity(visits: Sequence[tuple[LevelResult, Energy]], proven: int | None) -> tuple[float | None, float | None]:
    """Return joules per thousand tokens and per served user-hour, over all visits of the proven capacity."""
    known = [found.joules for _, found in visits if found.joules is not None]
    seconds = sum(level.t_end - level.t_start for level, _ in visits)
    if not proven or not known or len(known) < len(visits) or seconds <= 0:
        return None, None
    per_hour = None if isinstance(proven, Rate) else sum(known) / seconds * SECONDS_PER_HOUR / proven
    return _per_tokens(visits), per_hour


def _sentence(
    gpus: int,
    proven: int | None,
    per_tokens: float | None,
    per_user_hour: float | None,
    missing: str,
    paused: ThinkTime | None,
    who: Who,
) -> str:
    them = things(gpus, "GPU")
    if isinstance(proven, Rate) and per_tokens:
        return f"At {people(proven)}, {them} took {decimals(per_tokens)} J per thousand output tokens."
    if per_user_hour is None or proven is None:
        why = "no capacity is proven" if proven is None else missing
        return f"The energy per served {one_of(who)} is unknown for the {them}: {why}."
    watts = per_user_hour * proven / SECONDS_PER_HOUR
    hour = f"{decimals(per_user_hour / SECONDS_PER_HOUR)} Wh ({count(per_user_hour)} J)"
    pause = paused.mean if paused is not None and who == "people" else None
    they = f"{people(proven, who)}{' at once' if pause is None else who_pause(proven, pause)}"
    text = f"With {they}, {them} drew {count(watts)} W on average: {hour} for an hour of each {one_of(who)}"
    return text + (f", {decimals(per_tokens)} J per thousand output tokens." if per_tokens else ".")
