"""Findings as a reader sees them: the worst first, with advice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.verdict.phrasing.plurals import things

_SIGNS = {"bad": "✗", "warn": "!", "open": "?", "good": "✓"}
_LABELS = {"bad": "invalidates the run", "warn": "warning", "open": "undecided", "good": "passed"}

_LOSSES = ("workers", "disk", "worker disk", "accounted", "server gone", "server restarted")
"""checks whose warning is named beside the number of warnings: something went missing while the run went on"""


@dataclass(frozen=True)
class ShownFinding:
    """One check with its outcome."""

    kind: str
    """`bad` (invalidates the run), `warn`, `open` (undecided) or `good`; the worst first"""
    sign: str
    label: str
    """the kind in words, for screen readers"""
    title: str
    """first sentence of the reason"""
    why: str
    """the rest of the reason"""
    advice: str
    check: str
    """name of the check"""

    @property
    def is_important(self) -> bool:
        """Whether it is shown at once, rather than folded."""
        return self.kind in {"bad", "warn"} or (self.kind == "open" and bool(self.advice))


def read(findings: Sequence[Mapping[str, Any]]) -> list[ShownFinding]:
    """Return all findings of `capacity.json`, the worst first."""
    order = list(_SIGNS)
    return sorted((_finding(finding) for finding in findings), key=lambda finding: order.index(finding.kind))


def folded_summary(findings: Sequence[ShownFinding]) -> str:
    """Return `11 checks passed, 2 of 3 undecided`: the findings that are folded, by the counts that `trust` names."""
    open_ones = [finding for finding in findings if finding.kind == "open"]
    folded = sum(not finding.is_important for finding in open_ones)
    passed = f"{things(sum(finding.kind == 'good' for finding in findings), 'check')} passed"
    if not folded:
        return passed
    return f"{passed}, {folded if folded == len(open_ones) else f'{folded} of {len(open_ones)}'} undecided"


def trust(findings: Sequence[ShownFinding]) -> str:
    """Say whether the run can be trusted, by its checks."""
    kinds = [finding.kind for finding in findings]
    if "bad" in kinds:
        return f"No: {things(kinds.count('bad'), 'check')} invalidated the run."
    warnings, passed = kinds.count("warn"), f"{things(kinds.count('good'), 'check')} passed"
    undecided = f", {kinds.count('open')} undecided" if "open" in kinds else ""
    if warnings:
        lost = next((f" {one.title}" for name in _LOSSES for one in findings if _warns_of(one, name)), "")
        return f"With {things(warnings, 'warning')}; {passed}{undecided}.{lost}"
    return f"Yes: {passed}, none failed{undecided}."


def _warns_of(finding: ShownFinding, check: str) -> bool:
    return finding.kind == "warn" and finding.check == check


def _finding(finding: Mapping[str, Any]) -> ShownFinding:
    failed = "bad" if finding["invalidates"] else "warn"
    kind = {"pass": "good", "fail": failed}.get(str(finding["state"]), "open")
    name = str(finding["check"]).replace("_", " ")
    title, dot, why = str(finding["why"]).strip().partition(". ")
    return ShownFinding(
        kind, _SIGNS[kind], _LABELS[kind], title + dot.strip() or name, why, str(finding["advice"]), name
    )
