"""The checks that cost no request of their own: they run before every run, and first in `probe doctor`."""

from collections.abc import Sequence

from probe_ext.inspection.check_result import CheckResult
from probe_ext.inspection.machine import calibration_store
from probe_ext.inspection.machine.ceiling import ceiling
from probe_ext.inspection.machine.disk import disk
from probe_ext.inspection.machine.open_files import open_files
from probe_ext.inspection.planned_run import PlannedRun
from probe_ext.settings.options import Options


def machine_findings(plan: PlannedRun, options: Options, *, processes: int = 1, workers: int = 1) -> list[CheckResult]:
    """Return what this machine's limits mean for a plan; `processes` of the load generator run here."""
    return [
        open_files(plan.users, processes),
        disk(options.out, plan),
        ceiling(plan.users, workers, calibration_store.load()),
    ]


def lines_to_print(findings: Sequence[CheckResult]) -> list[str]:
    """Return what needs fixing, one line each."""
    return [one_line(finding) for finding in findings if finding.needs_fix]


def one_line(finding: CheckResult) -> str:
    """Return a finding's evidence and advice in one line."""
    return " ".join(filter(None, (f"{finding.title}: {finding.evidence}", finding.advice)))
