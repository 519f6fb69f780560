"""Findings as a reader meets them: the worst first, with what to do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.verdict.values.plurals import things

_KINDS = ("bad", "warn", "open", "good")
_SIGNS = {"bad": "✗", "warn": "!", "open": "?", "good": "✓"}
_SAID = {
    "bad": "spoils the run",
    "warn": "warning",
    "open": "not settled",
    "good": "passed",
}


@dataclass(frozen=True)
class Finding:
    """One check with its outcome."""

    kind: str
    """`bad` (the run is not to be believed), `warn`, `open` (not settled) or `good`"""
    sign: str
    said: str
    """the kind in words, for those who cannot see the sign"""
    title: str
    """its first sentence"""
    why: str
    """what else there is to say"""
    advice: str
    check: str
    """the check's name"""

    @property
    def matters(self) -> bool:
        """Whether a reader has to know at once."""
        return self.kind in {"bad", "warn"} or (self.kind == "open" and bool(self.advice))


def read(findings: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """All findings of `capacity.json`, the worst first."""
    return sorted((_finding(finding) for finding in findings), key=lambda found: _KINDS.index(found.kind))


def summed(findings: Sequence[Finding]) -> str:
    """`11 checks passed, 2 not settled`."""
    kinds = [found.kind for found in findings if not found.matters]
    passed = f"{things(kinds.count('good'), 'check')} passed"
    return f"{passed}, {kinds.count('open')} not settled" if "open" in kinds else passed


def _finding(finding: Mapping[str, Any]) -> Finding:
    failed = "bad" if finding["invalidates"] else "warn"
    kind = {"pass": "good", "fail": failed}.get(str(finding["state"]), "open")
    name = str(finding["check"]).replace("_", " ")
    title, dot, why = str(finding["why"]).strip().partition(". ")
    return Finding(kind, _SIGNS[kind], _SAID[kind], title + dot.strip() or name, why, str(finding["advice"]), name)
