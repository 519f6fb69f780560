"""Run the commands of a workflow's job on this machine, in a fresh clone of the last commit.

  .venv/bin/python scripts/try_workflow.py .github/workflows/tests.yml                     list the jobs
  .venv/bin/python scripts/try_workflow.py .github/workflows/tests.yml checks              first entry of a matrix
  .venv/bin/python scripts/try_workflow.py .github/workflows/tests.yml checks python=3.12

The environment has only the variables named in KEPT. Steps that use an action are skipped, except that the Python
version of actions/setup-python is put first on the path; so are steps that need a token. Artifacts of other jobs are
missing. The exit code is that of the first step that fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
KEPT = ("HOME", "LANG", "PATH", "TERM")
# Where packages are installed from, and which certificates are trusted, belongs to the machine, not to the job.
KEPT_PREFIXES = ("CURL_CA_", "DOCKER_", "NODE_EXTRA_CA_", "PIP_", "REQUESTS_CA_", "SSL_CERT_", "UV_")
EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")


class WorkflowError(Exception):
    """The job cannot be tried; the message says why."""


def load(path: Path) -> dict[str, Any]:
    """Return a workflow; its trigger is under "on", which YAML 1.1 reads as true."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in content.items()}


def chosen(matrix: dict[str, Any], wanted: dict[str, str]) -> dict[str, Any]:
    """Return the first entry of a matrix's `include` list with the wanted values."""
    entries = matrix.get("include", [{}])
    for entry in entries:
        if all(str(entry.get(key)) == value for key, value in wanted.items()):
            return dict(entry)
    raise WorkflowError(f"no entry with {wanted} in the matrix {entries}")


def expand(text: str, values: dict[str, str]) -> str:
    """Replace `${{ name }}` by its value."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise WorkflowError(f"{found[0]}: the value is not known here")
        return values[found[1]]

    return EXPRESSION.sub(value, text)


def tag_of(clone: Path) -> str:
    """Return the tag that a release of this commit would have."""
    found = re.search(r'^version = "(.*)"$', (clone / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    return f"v{found[1]}" if found else ""


def put_python_first(version: str, folder: Path, environment: dict[str, str]) -> None:
    """Make `python` and `python3` the given version, as actions/setup-python does."""
    found = shutil.which(f"python{version}", path=environment["PATH"])
    if found is None:
        raise WorkflowError(f"Python {version} is not installed here")
    folder.mkdir()
    for name in ("python", "python3"):
        (folder / name).write_text(f'#!/bin/sh\nexec {found} "$@"\n')
        (folder / name).chmod(0o755)
    environment["PATH"] = f"{folder}{os.pathsep}{environment['PATH']}"


def run_job(job: dict[str, Any], wanted: dict[str, str], place: Path) -> int:
    """Run a job's steps in a clone; return the exit code of the first that fails."""
    clone = place / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = {k: v for k, v in os.environ.items() if k in KEPT or k.startswith(KEPT_PREFIXES)} | {"CI": "true"}
    values = {f"matrix.{k}": str(v) for k, v in chosen(job.get("strategy", {}).get("matrix", {}), wanted).items()}
    values["github.ref_name"] = tag_of(clone)
    for number, step in enumerate(job["steps"]):
        command = step.get("run", "").strip()
        title = f"step {number + 1}: {step.get('name') or step.get('uses') or command}"
        if "uses" in step:
            version = expand(str(step.get("with", {}).get("python-version", "")), values)
            if step["uses"].startswith("actions/setup-python@"):
                put_python_first(version, place / "python", environment)
            print(f"SKIPPED, an action{f' (Python {version})' if version else ''}: {title}", flush=True)
        elif "github.token" in str(step.get("env")):
            print(f"SKIPPED, needs a token: {title}", flush=True)
        else:
            print(f"RUNNING {title}", flush=True)
            line = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", expand(command, values)]
            if code := subprocess.run(line, cwd=clone, env=environment, check=False).returncode:
                print(f"FAILED with exit code {code}: {title}")
                return code
    return 0


def main() -> int:
    """Try a job, or list the jobs of a workflow."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workflow", type=Path)
    parser.add_argument("job", nargs="?")
    parser.add_argument("matrix", nargs="*", metavar="KEY=VALUE", help="the entry of the matrix")
    options = parser.parse_args()
    jobs = load(options.workflow)["jobs"]
    if options.job is None:
        print("\n".join(jobs))
        return 0
    if options.job not in jobs:
        parser.error(f"{options.job}: not a job of {options.workflow}; jobs: {', '.join(jobs)}")
    with tempfile.TemporaryDirectory(prefix="try-workflow-") as place:
        try:
            return run_job(jobs[options.job], dict(text.split("=", 1) for text in options.matrix), Path(place))
        except WorkflowError as error:
            print(f"{options.workflow}: {options.job}: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
