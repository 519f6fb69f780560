"""The documented locustfiles run as they are, and their names are known to type checkers."""

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

import probe_ext
from probe_ext.client.reply import Reply
from probe_ext.measure.timeline import Marks, Pace
from tests.e2e.conftest import ROOT, finished, locust, start
from tests.in_process_sim import running_sim

PAGES = ("README.md", "docs/locustfiles.md")
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMES = {
    "example_0",  # of users without a `scenario`: the first file
    *("test", "title", "talk", "call", "answer", "image", "watch", "repeat", "short"),
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Each example as a file."""
    folder = tmp_path_factory.mktemp("examples")
    blocks = [block for page in PAGES for block in _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]
    paths = [folder / f"example_{number}.py" for number in range(len(blocks))]
    for path, block in zip(paths, blocks, strict=True):
        path.write_text(block, encoding="utf-8")
    return paths


@pytest.mark.long
def test_examples_are_strictly_typed(examples: list[Path], tmp_path: Path) -> None:
    """Against Locust's own types too, as a user's editor sees them; one planted mistake is found."""
    for number, block in enumerate(
        _BLOCK.findall((ROOT / "docs" / "workloads" / "locustfile.md").read_text(encoding="utf-8"))
    ):
        (tmp_path / f"workload_{number}.py").write_text(block, encoding="utf-8")
    workloads = list(tmp_path.glob("workload_*.py"))
    assert workloads
    wrong = tmp_path / "wrong.py"
    wrong.write_text(examples[1].read_text().replace("self.llm.chat(", "self.llm.caht(", 1))
    strict = ["--strict", "--allow-untyped-decorators", "--follow-imports=silent"]
    strict += ["--cache-dir", str(ROOT / ".mypy_cache" / "examples")]  # kept, as that of `make types`
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *strict, *examples, *workloads, wrong],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        check=False,
        timeout=300,
    )
    found = [line for line in checked.stdout.splitlines() if ": error: " in line]
    assert len(found) == 1, checked.stdout + checked.stderr
    assert 'has no attribute "caht"' in found[0]


def test_fields_of_the_reply_exist() -> None:
    table = (ROOT / "docs" / "locustfiles.md").read_text(encoding="utf-8").split("## The reply\n")[1].split("```")[0]
    rows = [line.split(" | ")[:2] for line in table.splitlines() if line.startswith("| `")]
    named = {name for cell, _ in rows for name in re.findall(r"`(\w+)`", cell)}
    assert {"ok", "text", "tokens_in", "ttft", "marks"} <= named
    assert [name for name in named if name not in dir(Reply) and name not in Reply.__dataclass_fields__] == []
    for owner, kind in (("pace", Pace), ("marks", Marks)):
        (meaning,) = [text for cell, text in rows if f"`{owner}`" in cell]
        assert set(re.findall(r"`(\w+)`", meaning)) <= {field.name for field in fields(kind)}


def test_examples_run(examples: list[Path], tmp_path: Path) -> None:
    files = ",".join(map(str, examples))
    with running_sim("tools", speed=20) as sim:
        options = ["-u", "16", "-r", "16", "-t", "6s", "--input-tokens", "60", "--max-tokens", "16"]
        run = finished(start(locust(sim.url, tmp_path / "run", *options, file=Path(files))), tmp_path / "run")
    assert run.code == 0, run.said
    assert "Traceback" not in run.said, run.said
    rows = [row for row in run.rows() if row["outcome"] != "ended_by_us"]
    outcomes = Counter((row["scenario"], row["outcome"]) for row in rows)
    assert {outcome for _, outcome in outcomes} == {"complete"}, outcomes
    assert {name for name, _ in outcomes} >= NAMES, outcomes
    assert "of the prompt came from the prefix cache" in run.said


def test_the_package_lists_what_locustfiles_and_notebooks_import() -> None:
    assert set(probe_ext.__all__) == set(dir(probe_ext))
    assert {"StreamingUser", "load_run"} <= set(dir(probe_ext))
