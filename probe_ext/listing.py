"""`probe list`: the scenarios and SLO profiles that come with the package.

example: probe list
"""

import argparse
import ast
from pathlib import Path

from probe_ext.bundled import folder
from probe_ext.exit_codes import ExitCode


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def main(_options: argparse.Namespace) -> int:
    """Print a line each; 0."""
    lines = ["scenarios: probe run NAME --host URL"]
    lines += [f"  {path.stem:<18} {_summary(path)}" for path in sorted(folder("locustfiles").glob("*.py"))]
    lines += ["", "SLO profiles: --slo NAME"]
    lines += [
        f"  {path.stem:<18} {_first_comment(path)}" for path in sorted((folder("configs") / "slo").glob("*.yaml"))
    ]
    print("\n".join(lines))  # noqa: T201 - a command speaks to its user
    return ExitCode.OK


def _summary(path: Path) -> str:
    """The first line of a locustfile's docstring, read without running it."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""
