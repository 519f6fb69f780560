"""Has the disk room for the run that is planned?"""

import os
from pathlib import Path

from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.inspection.planned_run import PlannedRun

DEFAULT_RUNS = Path("reports") / "runs"
_NEARLY_FULL = 3.0
"""times what the run needs, below which the disk is called nearly full"""


def disk(out: str | None, plan: PlannedRun) -> CheckResult:
    """Compare the free space below the run directory with what the plan may need."""
    place = _existing(Path(out) if out else DEFAULT_RUNS)
    try:
        free = free_bytes(place)
    except OSError as error:
        return CheckResult("disk", Status.UNKNOWN, f"{place}: {error.strerror}.")
    needed = plan.bytes_on_disk
    figures = {"free_bytes": free, "needed_bytes": needed}
    evidence = f"{size(free)} free for the run directory, which needs at most about {size(needed)}."
    if free >= _NEARLY_FULL * needed:
        return CheckResult("disk", Status.OK, evidence, None, figures)
    status = Status.PROBLEM if free < needed else Status.WARN
    return CheckResult("disk", status, evidence, "Free some space, or write elsewhere (--out DIR).", figures)


def free_bytes(place: Path) -> int:
    """Return the space that an unprivileged user may still fill. OSError if the file system does not say."""
    figures = os.statvfs(place)
    return figures.f_bavail * figures.f_frsize


def size(amount: float) -> str:
    """Format bytes: `31 MB`, `4.2 GB`."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if amount >= scale:
            return f"{amount / scale:.1f} {unit}" if amount < 10 * scale else f"{amount / scale:.0f} {unit}"
    return f"{amount / 1e3:.0f} kB"


def _existing(path: Path) -> Path:
    """Return the deepest existing folder above a path."""
    path = path.absolute()
    return next((folder for folder in (path, *path.parents) if folder.is_dir()), Path("/"))
