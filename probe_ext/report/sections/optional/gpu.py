"""What the GPUs did at each level, and what served people and tokens cost in energy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.sections.level_table import Cell, Column, Heading, Row, Table
from probe_ext.report.wording.level_names import by_users, label
from probe_ext.verdict.phrasing import formats

_COLUMNS = (
    Column("busiest GPU", "", "gpu_busy"),
    Column("clock", "mean, MHz", "gpu_clock"),
    Column("temperature", "peak, °C", "gpu_heat"),
    Column("memory", "peak", "gpu_memory"),
    Column("power", "all, W", "gpu_power"),
    Column("energy", "J per 1,000 tokens", "joules"),
)
_KEYS = (
    ("utilisation", formats.percent),
    ("clock", formats.count),
    ("temperature_max", formats.count),
    ("memory_used_max", formats.percent),
    ("power", formats.count),
    ("joules_per_1000_tokens", formats.rate),
)


@dataclass(frozen=True)
class GpuSection:
    """The section: a sentence, a table by level, notes."""

    sentence: str
    table: Table
    notes: Sequence[str]


def gpu_section(capacity: Mapping[str, Any]) -> GpuSection | None:
    """Return the section; None where no GPU was read."""
    gpu = capacity["gpu"]
    if gpu is None:
        return None
    head = Column("rate", "requests/s", "rate") if capacity["load"] == "rate" else Column("users", "", "users")
    columns = (head, *_COLUMNS)
    states = {level["users"]: str(level["state"]) for level in capacity["levels"]}
    in_order = sorted(gpu["by_level"], key=lambda level: level["t_start"])
    rows = [
        Row(
            label(level),
            [_cell(level[key], text, gpu["why_no_energy"] if key.startswith("joules") else "") for key, text in _KEYS],
            states.get(level["users"], "unproven"),
            level["users"],
        )
        for level in by_users([{**one, "users_low": one["users"], "users_high": one["users"]} for one in in_order])
    ]
    return GpuSection(gpu["sentence"], Table(columns, rows, [Heading(c.head, [c]) for c in columns]), _notes(gpu))


def _cell(value: float | None, text: Any, why: str) -> Cell:
    if value is None:
        return Cell(formats.DASH, why or "not reported by the exporter", "none")
    return Cell(text(value))


def _notes(gpu: Mapping[str, Any]) -> list[str]:
    notes = []
    if gpu["energy_from"]:
        source = "the GPUs' own energy counter" if gpu["energy_from"] == "counter" else "mean power times duration"
        notes.append(
            f"Energy is taken from {source}. It covers the whole boards with their idle power, and nothing else."
        )
    if gpu["why_no_energy"]:
        notes.append(f"Energy is missing where {gpu['why_no_energy']}.")
    if gpu["update_seconds"]:
        notes.append(f"The exporter's values change about every {formats.seconds(gpu['update_seconds'])}.")
    return notes
