"""Print the versions of docker/run.lock as constraints for pip, without hashes, which need every file to have one.

python scripts/constraints.py > constraints.txt
pip install -c constraints.txt probe_ext-0.1.0-py3-none-any.whl
"""

from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "docker" / "run.lock"


def constraints(lock: str) -> str:
    """Return a line such as `idna==3.11 ; python_version < "4"` for each package of a lock file."""
    lines = (line.removesuffix("\\").strip() for line in lock.splitlines())
    return "".join(f"{line}\n" for line in lines if "==" in line and not line.startswith(("#", "--")))


if __name__ == "__main__":
    print(constraints(LOCK.read_text(encoding="utf-8")), end="")
