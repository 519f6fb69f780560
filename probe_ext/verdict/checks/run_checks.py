"""Is this run valid? Every check answers pass, fail or unproven, with a reason and advice.

Only what falsifies the measurement invalidates the run: others' load in every level, lost rows, a load generator that
was too slow, workers without access. A run that was too short is unproven. Everything else is a warning.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.measure.findings import FINDING_NAMES
from probe_ext.verdict.checks.accounting import account_checks
from probe_ext.verdict.checks.client_accuracy import accuracy_checks
from probe_ext.verdict.checks.delivery import delivery_checks
from probe_ext.verdict.checks.engine_shares import engine_shares_check
from probe_ext.verdict.checks.load_checks import load_checks
from probe_ext.verdict.checks.other_load import other_load_check
from probe_ext.verdict.checks.server_checks import server_checks
from probe_ext.verdict.checks.stationarity import steady_checks
from probe_ext.verdict.checks.token_counts import token_checks
from probe_ext.verdict.checks.worker_access import access_checks
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mappings
from probe_ext.verdict.grading.reply_grades import GradedReplies
from probe_ext.verdict.server.server_series import Metrics
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.wording.early_end import is_interrupted

_STATES = ("pass", "fail", "unproven")


def run_checks(
    evidence: Evidence,
    levels: Sequence[LevelResult],
    metrics: Metrics,
    estimate: CapacityEstimate,
    left_out: Sequence[Finding],
    graded: GradedReplies,
) -> tuple[Finding, ...]:
    """Return all findings: those of the live run first, which replace checks of the same name made here.

    `left_out`: why replies are left out of the estimate.
    """
    live = live_findings(evidence.manifest)
    if is_interrupted(evidence.manifest):  # `ended` says what an interrupted search still needed
        live = [finding for finding in live if finding.check != "search"]
    known = {finding.check for finding in live}
    checked = (
        other_load_check(evidence, levels),
        *account_checks(evidence, levels),
        *left_out,
        *access_checks(evidence),
        *accuracy_checks(evidence),
        *delivery_checks(evidence, graded),
        *token_checks(evidence),
        *server_checks(evidence, metrics),
        engine_shares_check(evidence, metrics),
        *load_checks(evidence, levels, metrics, estimate),
        *steady_checks(evidence, levels),
    )
    return (*live, *(finding for finding in checked if finding.check not in known))


def live_findings(manifest: Mapping[str, Any]) -> list[Finding]:
    """Return the findings that the live run recorded in the manifest."""
    return [_finding(recorded) for recorded in mappings(manifest.get("findings"))]


def _finding(recorded: Mapping[str, Any]) -> Finding:
    name, state = recorded.get("check"), recorded.get("state")
    return Finding(
        check=name if name in FINDING_NAMES else "other",
        state=state if state in _STATES else "unproven",
        invalidates=bool(recorded.get("invalidates")),
        why=str(recorded.get("why") or ""),
        advice=str(recorded.get("advice") or ""),
    )
