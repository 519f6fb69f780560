"""List the scenarios, workloads and SLO profiles that come with the package.

example: probe list
"""

import argparse
import ast
from pathlib import Path

from probe_ext.bundled import folder
from probe_ext.exit_codes import ExitCode
from probe_ext.workload.workload_file import read_workload, workload_names


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command takes no arguments."""


def main(_options: argparse.Namespace) -> int:
    """Print one line per scenario and profile; return the exit code."""
    lines = ["scenarios: probe run NAME --host URL"]
    lines += [f"  {path.stem:<18} {_docstring_summary(path)}" for path in sorted(folder("locustfiles").glob("*.py"))]
    lines += ["", "workloads: probe run --workload NAME --host URL"]
    lines += [f"  {name:<18} {read_workload(name).question}" for name in workload_names()]
    lines += ["", "SLO profiles: --slo NAME"]
    lines += [
        f"  {path.stem:<18} {_first_comment(path)}" for path in sorted((folder("configs") / "slo").glob("*.yaml"))
    ]
    print("\n".join(lines))  # noqa: T201 - command output
    return ExitCode.OK


def _docstring_summary(path: Path) -> str:
    """Return the first line of a locustfile's docstring without importing the file."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""
