"""May this run be believed? Every check answers pass, fail or unproven, with why and advice in plain words.

Only what spoils the ruler invalidates: rows that were lost, a client too slow to be believed, users never let in.
What was too short is unproven. Everything else warns, and blocks only the claims that need it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.verdict.checks.access import key_checks
from probe_ext.verdict.checks.accounting import account_checks
from probe_ext.verdict.checks.client_accuracy import ruler_checks
from probe_ext.verdict.checks.load_checks import load_checks
from probe_ext.verdict.checks.reachability import reach_checks
from probe_ext.verdict.checks.server_checks import server_checks
from probe_ext.verdict.checks.stationarity import steady_checks
from probe_ext.verdict.server.server_series import Metrics
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.level_result import LevelResult

_STATES = ("pass", "fail", "unproven")


def run_checks(evidence: Evidence, levels: Sequence[LevelResult], metrics: Metrics) -> tuple[Finding, ...]:
    """All findings: those of the live run first, then ours, except where the live run knew more of the same."""
    live = live_findings(evidence.manifest)
    known = {finding.check for finding in live}
    ours = (
        *account_checks(evidence, levels),
        *key_checks(evidence),
        *reach_checks(evidence),
        *ruler_checks(evidence),
        *server_checks(evidence, metrics),
        *load_checks(evidence, levels, metrics),
        *steady_checks(evidence, levels),
    )
    return (*live, *(finding for finding in ours if finding.check not in known))


def live_findings(manifest: Mapping[str, Any]) -> list[Finding]:
    """What only the live run could know, as it wrote it down."""
    found = manifest.get("findings")
    return [_finding(one) for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _finding(one: Mapping[str, Any]) -> Finding:
    state = one.get("state")
    return Finding(
        check=str(one.get("check") or "run"),
        state=state if state in _STATES else "unproven",
        invalidates=bool(one.get("invalidates")),
        why=str(one.get("why") or ""),
        advice=str(one.get("advice") or ""),
    )
