"""Locate what comes with the package besides its code: inside an installed wheel, beside the package in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_PARENTS = (_PACKAGE / "_bundled", _PACKAGE.parent)


def folder(name: str) -> Path:
    """Return the folder `locustfiles` or `configs`. FileNotFoundError if the installation lacks it."""
    return bundled(f"{name}/")


def bundled(name: str) -> Path:
    """Return a bundled file or folder. FileNotFoundError if the installation lacks it."""
    for parent in _PARENTS:
        if (parent / name).exists():
            return parent / name
    raise FileNotFoundError(f"{name} is missing from {_PARENTS[0]} and {_PARENTS[1]}: the installation is incomplete")
