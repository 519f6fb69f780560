"""Locate what comes with the package besides its code: inside an installed wheel, beside the package in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_PARENTS = (_PACKAGE / "_bundled", _PACKAGE.parent)
_NAMED = (
    ("scenario", "a scenario: probe run {}", "locustfiles", ".py"),
    ("workload", "a workload: --workload {}", "configs/workloads", ".yaml"),
    ("profile", "an SLO profile: --slo {}", "configs/slo", ".yaml"),
)


def folder(name: str) -> Path:
    """Return the folder `locustfiles` or `configs`. FileNotFoundError if the installation lacks it."""
    return bundled(f"{name}/")


def named_otherwise(name: str, wanted: str) -> str:
    """Return `; coding is a workload: --workload coding` of a name that stands for something else than `wanted`.

    `wanted`: scenario, workload or profile. Empty for a name that stands for nothing.
    """
    found = [how.format(name) for what, how, place, suffix in _NAMED
             if what != wanted and (folder(place) / f"{name}{suffix}").is_file()]  # fmt: skip
    return f"; {name} is {', or '.join(found)}" if found else ""


def bundled(name: str) -> Path:
    """Return a bundled file or folder. FileNotFoundError if the installation lacks it."""
    for parent in _PARENTS:
        if (parent / name).exists():
            return parent / name
    raise FileNotFoundError(f"{name} is missing from {_PARENTS[0]} and {_PARENTS[1]}: the installation is incomplete")
