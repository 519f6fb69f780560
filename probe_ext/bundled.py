"""Find the locustfiles and configs: inside the wheel, else beside the package in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_PLACES = (_PACKAGE / "_bundled", _PACKAGE.parent)


def folder(name: str) -> Path:
    """The folder `locustfiles` or `configs`. FileNotFoundError when the installation lacks it."""
    for place in _PLACES:
        if (place / name).is_dir():
            return place / name
    raise FileNotFoundError(f"{name}/ is neither in {_PLACES[0]} nor in {_PLACES[1]}: the installation is incomplete")
