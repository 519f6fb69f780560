"""Print a version's part of CHANGELOG.md: `python scripts/release_notes.py v0.2.0`.

The exit code is 2 if the version is not that of pyproject.toml, or CHANGELOG.md does not describe it.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def release_notes(changelog: str, version: str) -> str:
    """Return the text below the heading `## VERSION`; empty if there is none."""
    heading = re.compile(rf"^## \[?{re.escape(version)}\]?(?=\s).*$", re.MULTILINE)
    found = heading.search(changelog + "\n")
    return re.split(r"^## ", changelog[found.end() :], maxsplit=1, flags=re.MULTILINE)[0].strip() if found else ""


def main(arguments: list[str]) -> int:
    """Return 0 if the notes were printed."""
    if len(arguments) != 1:
        print("usage: release_notes.py VERSION", file=sys.stderr)
        return 2
    version = arguments[0].removeprefix("v")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if version != declared:
        print(f"{arguments[0]}: pyproject.toml has version {declared}", file=sys.stderr)
        return 2
    notes = release_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    if not notes:
        print(f"{arguments[0]}: CHANGELOG.md has no text below '## {version}'", file=sys.stderr)
        return 2
    print(notes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
