"""The GitHub action and the GitLab template, executed step by step in a folder that isn't this repository."""

import os
import re
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from probe_ext.exit_codes import ExitCode
from probe_ext.settings.gate_limits import GATE_FIGURES
from probe_ext.settings.options import OPTIONS
from tests.e2e.conftest import PATIENCE, sim  # noqa: F401 - a fixture
from tests.test_docs import names, section, tables
from tests.test_packaging import dependencies, wheel  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
TEMPLATE = yaml.safe_load((ROOT / "docs" / "gitlab" / "probe-ext.yml").read_text(encoding="utf-8"))[".probe-ext"]
BRIEF = "--levels 1 --hold 1s --settle 0s --max-tokens 16 --warm-up off"
_INPUT = re.compile(r"\$\{\{ inputs\.([\w-]+) \}\}")


def expanded(text: str, given: dict[str, str]) -> str:
    values = {name: str(one.get("default", "")) for name, one in ACTION["inputs"].items()} | given
    return _INPUT.sub(lambda found: values[found[1]], text)


def bash(script: str, folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run as GitHub and GitLab do: bash that ends at the first failure. Packages come from this machine alone."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PROBE_", "PYTHON", "VIRTUAL", "GITHUB"))
    }
    local = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}"}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env={**clean, **local, **environment}, capture_output=True, text=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip


def with_dependencies(home: Path) -> None:
    """Stand in for the download of dependencies."""
    purelib = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(home)}))
    (purelib / "zz_dependencies.pth").write_text(f"{dependencies(home.parent)}\n", encoding="utf-8")


def test_every_gate_is_an_input_and_reaches_its_option() -> None:
    (run,) = (step for step in ACTION["runs"]["steps"] if step["name"] == "Load test")
    gates = {name: _INPUT.fullmatch(value) for name, value in run["env"].items() if name.startswith("PROBE_")}
    assert set(gates) <= {option.variable for option in OPTIONS}
    assert {found[1] for found in gates.values() if found} == {"fail-under-users", "fail-over", "baseline", "margin"}


def test_inputs_are_documented_with_their_defaults() -> None:
    written = {names([row])[0]: row[1].strip("`") for row in tables(section("docs/ci.md", "GitHub"))[0]}
    assert written == {name: str(one.get("default") or "–") for name, one in ACTION["inputs"].items()}
    figures = names(tables(section("docs/ci/gates.md", "Limits of single figures"))[0])
    assert figures == list(GATE_FIGURES)


def test_no_input_stands_in_a_script() -> None:
    """A script is not put together from inputs, or whoever sets one could run commands."""
    assert not [step["name"] for step in ACTION["runs"]["steps"] if "${{" in step.get("run", "")]


def test_the_run_is_kept_when_it_fails() -> None:
    *_, keep = ACTION["runs"]["steps"]
    assert keep["if"] == "always()"
    assert keep["with"]["path"] == "${{ inputs.out }}"
    assert TEMPLATE["artifacts"]["when"] == "always"


@pytest.mark.long
@pytest.mark.parametrize(
    ("gates", "code", "heading"),
    [
        ({}, ExitCode.OK, ""),
        # Missed by every reply; of the one or two that a busy machine may get, that is no proof.
        ({"fail-over": "ttft_p95=1ms@1"}, ExitCode.GATE, r"Gate (failed|unproven) \(ttft"),
        ({"fail-under-users": "500"}, ExitCode.GATE, "Gate unproven"),
    ],
)
def test_the_action_step_by_step(
    gates: dict[str, str],
    code: ExitCode,
    heading: str,
    wheel: Path,  # noqa: F811
    sim: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    given = {"host": sim, "options": f"{BRIEF} --body '{{\"seed\": 7}}'", "package": str(wheel), **gates}
    folder, temp, summary = tmp_path / "project", tmp_path / "temp", tmp_path / "summary.md"
    folder.mkdir()
    temp.mkdir()
    runner = {"RUNNER_TEMP": str(temp), "GITHUB_ACTION_PATH": str(ROOT), "GITHUB_STEP_SUMMARY": str(summary)}
    install, test, keep = ACTION["runs"]["steps"]
    done = bash(install["run"], folder, {**runner, **_environment(install, given)})
    assert done.returncode == 0, done.stderr
    with_dependencies(temp / "probe-ext")
    done = bash(test["run"], folder, {**runner, **_environment(test, given)})
    assert done.returncode == code, done.stdout + done.stderr
    kept = folder / expanded(keep["with"]["path"], given)
    assert {"run.json", "capacity.json", "capacity.html", "summary.md", "junit.xml"} <= {f.name for f in kept.iterdir()}
    assert re.search(heading, summary.read_text(encoding="utf-8").replace("\\", "").splitlines()[0])
    assert len(ET.parse(kept / "junit.xml").getroot()) >= 2


def _environment(step: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    return {name: expanded(value, given) for name, value in step["env"].items()}


@pytest.mark.long
def test_the_gitlab_template_step_by_step(wheel: Path, sim: str, tmp_path: Path) -> None:  # noqa: F811
    variables = {**TEMPLATE["variables"], "LLM_PACKAGE": str(wheel), "LLM_HOST": sim}
    variables["LLM_OPTIONS"] = f"{BRIEF} --fail-under-users 500"
    *before, last = TEMPLATE["script"]
    for line in before:
        done = bash(line, tmp_path, variables)
        assert done.returncode == 0, done.stderr
    with_dependencies(tmp_path / ".probe-ext")
    assert bash(last, tmp_path, variables).returncode == ExitCode.GATE
    assert (tmp_path / TEMPLATE["artifacts"]["reports"]["junit"]).is_file()
    assert all((tmp_path / path).exists() for path in TEMPLATE["artifacts"]["paths"])
