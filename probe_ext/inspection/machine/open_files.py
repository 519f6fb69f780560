"""May this machine's load generator open a connection for every user?"""

import resource

from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.verdict.phrasing.plurals import things

_OTHER_FILES = 60
"""files, pipes and libraries of a load generator without users"""
_RAISED_BY_LOCUST = 10_000
"""Locust raises a lower soft limit to this at its start, if the hard limit allows"""


def open_files(users: int, processes: int = 1, limits: tuple[int, int] | None = None) -> CheckResult:
    """Compare the limit of open files with a plan; `limits`: soft and hard, by default this process's."""
    soft, hard = limits or resource.getrlimit(resource.RLIMIT_NOFILE)
    usable = _usable(soft, hard)
    needed = -(-users // max(1, processes)) + _OTHER_FILES
    figures = {"soft_limit": _finite(soft), "hard_limit": _finite(hard), "needed": needed}
    need = f"{things(users, 'user')} {'needs' if users == 1 else 'need'} about {needed:,}"
    if usable is None:
        return CheckResult("open_files", Status.OK, f"No limit; {need}.", None, figures)
    limit = f"A load generator here may open {usable:,} files (ulimit -n {_shown(soft)}, hard limit {_shown(hard)})"
    if needed <= usable:
        return CheckResult("open_files", Status.OK, f"{limit}; {need}.", None, figures)
    advice = f"Raise the hard limit to {needed:,} or more (`ulimit -Hn`, LimitNOFILE=, or the container's ulimits)"
    if processes == 1:
        advice += ", or spread the users over several workers (--processes)"
    return CheckResult(
        "open_files",
        Status.PROBLEM,
        f"{limit}, but {need}: further connections would fail.",
        f"{advice}.",
        figures,
    )


def _usable(soft: int, hard: int) -> int | None:
    """Return the limit that a run has; None: unlimited."""
    if soft == resource.RLIM_INFINITY:
        return None
    reachable = _RAISED_BY_LOCUST if hard == resource.RLIM_INFINITY else min(_RAISED_BY_LOCUST, hard)
    return max(soft, reachable)


def _finite(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit


def _shown(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,}"
