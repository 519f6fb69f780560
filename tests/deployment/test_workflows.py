"""Hosted workflows, forms, hooks and the test schedule name only what exists; workflows can be tried locally."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.containers.image_tags import image_tags
from scripts.release_notes import release_notes
from scripts.try_workflow import load
from tests.conftest import INDEPENDENT, WAITING

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TESTS = ROOT / ".github" / "workflows" / "tests.yml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
in_a_clone = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="NOT CHECKED: not a git clone")


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def test_workflows_are_found() -> None:
    assert [path.name for path in WORKFLOWS] == ["release.yml", "tests.yml"]


@each_workflow
def test_workflow_is_complete(path: Path) -> None:
    workflow = load(path)
    assert {"name", "on", "permissions", "jobs"} <= set(workflow)
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] > 0, name
        assert set(job.get("needs", [])) <= set(workflow["jobs"]) or job["needs"] in workflow["jobs"]
    for step in steps(workflow):
        assert ("uses" in step) != ("run" in step), step


@each_workflow
def test_actions_are_pinned_to_a_version(path: Path) -> None:
    used = [step["uses"] for step in steps(load(path)) if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", action)] == []


@each_workflow
def test_commands_name_existing_targets_and_files(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = "\n".join(step.get("run", "") for step in steps(load(path)))
    called = {target for line in re.findall(r"\bmake ([a-z -]+)", commands) for target in line.split()}
    assert called, "calls no target of the Makefile"
    assert called <= targets
    scripts = re.findall(r"\b((?:scripts|docker|tests)/[\w./-]+)", commands)
    assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_declared_python_versions_are_those_that_must_pass() -> None:
    entries = load(TESTS)["jobs"]["checks"]["strategy"]["matrix"]["include"]
    tried = {entry["python"] for entry in entries if not entry["untried"]}
    declared = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", line)}
    assert tried == declared
    assert PROJECT["requires-python"].removeprefix(">=") in tried


def test_slow_tests_run_every_night() -> None:
    workflow = load(TESTS)
    assert len(workflow["on"]["schedule"]) == 1
    assert "schedule" in workflow["jobs"]["nightly"]["if"]
    for target in ("test-long", "test-docs"):
        assert {"run": f"make {target}"} in workflow["jobs"]["nightly"]["steps"]


def test_bug_form_requires_run_json() -> None:
    form = read(".github/ISSUE_TEMPLATE/bug.yml")
    assert {"name", "description", "body"} <= set(form)
    fields = {field["id"]: field for field in form["body"]}
    assert len(fields) == len(form["body"])
    assert fields["run-json"]["validations"]["required"]
    assert "`run.json`" in fields["run-json"]["attributes"]["description"]


def test_hooks_run_the_tools_of_make_test() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    tools = set(re.findall(r"^\t\$\(BIN\)/((?:ruff \w+|mypy|lint-imports))", makefile, re.MULTILINE))
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"].removeprefix(".venv/bin/") for hook in repository["hooks"]]
    assert {" ".join(word for word in entry.split() if not word.startswith("--")) for entry in entries} == tools
    assert all((BIN / entry.split()[0]).exists() for entry in entries)


def test_a_release_names_images_by_digest_and_has_constraints() -> None:
    tags = image_tags()
    images = {"python", "prom/prometheus", "grafana/grafana", "vllm/vllm-openai"}
    assert {tag.partition(":")[0] for tag in tags} == images
    assert not [tag for tag in tags if tag.endswith(":latest") or not any(c.isdigit() for c in tag.partition(":")[2])]
    commands = "\n".join(step.get("run", "") for step in steps(load(ROOT / ".github" / "workflows" / "release.yml")))
    assert "imagetools inspect" in commands
    assert "PYTHON_IMAGE=" in commands
    assert {"release/constraints.txt", "release/image-digests.txt"} <= set(commands.split())


def test_scheduled_test_files_exist() -> None:
    assert [prefix for prefix in (*WAITING, *INDEPENDENT) if not list(ROOT.glob(f"{prefix}*"))] == []


def test_files_that_targets_test_exist() -> None:
    named = re.findall(r"\btests/[\w/]+(?:\.py)?", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert [path for path in named if not list(ROOT.glob(f"{path}*"))] == []


def test_release_notes_are_the_part_of_one_version() -> None:
    changelog = "# Changes\n\n## Unreleased\n\n- c\n\n## 0.2.0\n\n- b\n\n### More\n\n- b\n\n## 0.1.0\n\n- a\n"
    assert release_notes(changelog, "0.2.0") == "- b\n\n### More\n\n- b"
    assert release_notes(changelog, "0.1.0") == "- a"
    assert release_notes(changelog, "0.2") == release_notes(changelog, "0.3.0") == ""


def test_release_notes_exist_for_the_declared_version() -> None:
    def ask(tag: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, ROOT / "scripts" / "release_notes.py", tag]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good, bad = ask(f"v{PROJECT['version']}"), ask("v99.0")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("- ") or good.stdout[0].isalpha()
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == f"v99.0: pyproject.toml has version {PROJECT['version']}\n"


TRIED = """
on: push
jobs:
  job:
    strategy:
      matrix:
        include:
          - {word: one}
          - {word: two}
    steps:
      - uses: actions/checkout@v4
      - run: test -f pyproject.toml && echo "${{ matrix.word }} ${{ github.ref_name }} [$SECRET]"
      - run: gh release
        env:
          GH_TOKEN: ${{ github.token }}
      - run: "false"
      - run: echo never
  unknown:
    steps:
      - run: echo ${{ secrets.KEY }}
"""


@in_a_clone
def test_job_is_tried_up_to_its_first_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "leaked")
    path = tmp_path / "tried.yml"
    path.write_text(TRIED)

    def attempt(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(ROOT / "scripts" / "try_workflow.py"), str(path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert attempt().stdout.split() == ["job", "unknown"]
    done = attempt("job", "word=two")
    assert done.returncode == 1
    assert f"\ntwo v{PROJECT['version']} []\n" in done.stdout
    assert "SKIPPED, an action: step 1: actions/checkout@v4" in done.stdout
    assert "SKIPPED, needs a token: step 3: gh release" in done.stdout
    assert done.stdout.endswith("FAILED with exit code 1: step 4: false\n")
    assert attempt("job", "word=three").returncode == 2
    missing = attempt("unknown")
    assert missing.returncode == 2
    assert "secrets.KEY }}: the value is not known here" in missing.stderr
