"""What the verdict says, as values; `Judgement.to_json()` is `capacity.json` (its schema: `capacity.schema.json`).

Seconds, tokens a second, fractions of one. None is missing, never zero.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from probe_ext.verdict.values.dimension_result import ColdUser, Question
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.pause_types import Pauses
from probe_ext.verdict.values.ruling_types import Diagnosis, Edge
from probe_ext.verdict.values.sizing_types import Cost, Goodput, Team

SCHEMA = 1
"""of capacity.json"""
DECIMALS = 6


@dataclass(frozen=True)
class Mode:
    """The answer with reasoning shown, or hidden."""

    served_users: int | None
    bracket: tuple[int | None, int | None]
    breaks_first: str | None


@dataclass(frozen=True)
class Climb:
    """What bands of a climb suggest; no proof."""

    bracket: tuple[int | None, int | None]
    """the lowest count of the highest band that seemed to hold, the highest of the first that seemed to fail"""


@dataclass(frozen=True)
class Judgement:
    """The verdict."""

    verdict: Literal["valid", "invalid", "unproven"]
    sentence: str
    served_users: int | None
    interval: tuple[int, int | None] | None
    bracket: tuple[int | None, int | None]
    breaks_first: str | None
    levels: tuple[LevelResult, ...]
    questions: tuple[Question, ...]
    cold_user: ColdUser
    pauses: Pauses
    goodput: Goodput | None
    """None where no level attains as much"""
    team: Team | None
    """None where no think time was given, or nothing is proven; `cost` so without a price"""
    cost: Cost | None
    climb: Climb | None
    next_command: str | None
    """what to run to prove, or to narrow, the answer"""
    reasoning: str
    modes: dict[str, Mode]
    profile: dict[str, Any]
    findings: tuple[Finding, ...]
    diagnosis: Diagnosis
    edge: Edge
    replies: int
    replies_outside: int
    """sent in no level: while the count changed or settled"""

    def to_json(self) -> dict[str, Any]:
        """`capacity.json`: plain types, rounded to a millionth, no NaN."""
        plain = {
            "schema": SCHEMA,
            **{key: value for key, value in asdict(self).items() if key not in {"levels", "questions", "modes"}},
            "levels": [level.to_json() for level in self.levels],
            "questions": {question.dimension: _without(asdict(question), "dimension") for question in self.questions},
            "reasoning": {"judged": self.reasoning, **{name: asdict(mode) for name, mode in self.modes.items()}},
        }
        return {key: _plain(value) for key, value in plain.items()}


def _without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != key}


def _plain(value: Any) -> Any:
    """Lists for tuples, None for what is no number."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, DECIMALS) if math.isfinite(value) else None
    return value
