"""Can this machine measure the load that is planned, by its own calibration?"""

from typing import Any

from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.inspection.machine import calibration_store
from probe_ext.verdict.phrasing.plurals import things


def ceiling(users: int, workers: int, calibration: dict[str, Any] | None) -> CheckResult:
    """Compare a plan with a calibration; None: there is none."""
    if not calibration:
        return CheckResult(
            "ceiling",
            Status.UNKNOWN,
            "This machine has not been calibrated with these versions: how many users it can measure is not known.",
            "Run `probe calibrate` once.",
        )
    figures = {name: calibration.get(name) for name in ("open_streams", "tokens_per_second")}
    why = calibration_store.shortage(calibration, users, workers)
    if why is None:
        enough = (
            f"By its calibration, this machine can measure {things(users, 'user')} with {things(workers, 'worker')}."
        )
        return CheckResult("ceiling", Status.OK, enough, None, figures)
    evidence, _, advice = why.rpartition(": ")
    return CheckResult("ceiling", Status.WARN, evidence, advice, figures)
