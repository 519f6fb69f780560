"""The result of a control request: an answer, or why there is none."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete 2xx response."""

    status: int
    body: bytes
    server: str = ""
    """the `Server` header"""


@dataclass(frozen=True, slots=True)
class Failed:
    """No usable answer."""

    why: str
    """short and free of secrets: `404`, `401 needs a key`, `timed out`, `connection refused`, …"""
    status: int | None = None
    body: bytes = field(default=b"", compare=False, repr=False)
    """beginning of the response that came with an HTTP error: the server's own words, not yet made safe to show"""


def json_object(answer: Answer | Failed) -> dict[str, Any] | None:
    """Return the JSON object in an answer; None for anything else."""
    if isinstance(answer, Failed):
        return None
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
