"""What a look at a server finds: one finding per question, with its evidence and the setting to change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Figures = Mapping[str, float | int | str | bool | None]


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """worth fixing: a run works, but takes longer, or its report can say less"""
    PROBLEM = "problem"
    """a run would fail or mislead"""
    UNKNOWN = "unknown"
    """could not be determined, for the reason in the evidence"""


TITLES: dict[str, str] = {
    "reachable": "reachable",
    "engine": "engine and version",
    "models": "model",
    "context": "context length",
    "request_form": "request fields",
    "streaming": "streaming",
    "answer_length": "reply length",
    "keep_alive": "kept connections",
    "cancel": "hanging up",
    "usage": "token counts",
    "tool_calls": "tool calls",
    "reasoning": "reasoning",
    "metrics": "metrics",
    "prefix_cache": "prefix cache",
    "replicas": "replicas",
    "clock": "clock",
    "round_trip": "round trip",
    "open_files": "open files here",
    "disk": "disk space here",
    "ceiling": "load generator",
    "server_process": "the server's machine",
}
"""All checks in the order in which they are shown, by their ids."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check."""

    id: str
    """a key of TITLES"""
    status: Status
    evidence: str
    """what was seen, in one or two sentences"""
    advice: str | None = None
    """the setting to change"""
    figures: Figures = field(default_factory=dict)
    """the numbers behind the evidence; seconds, tokens, bytes"""

    @property
    def title(self) -> str:
        """What was checked, in a few words."""
        return TITLES[self.id]

    @property
    def needs_fix(self) -> bool:
        """Whether something should be changed before a run."""
        return self.status in (Status.WARN, Status.PROBLEM)
