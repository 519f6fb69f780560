"""What a page shows besides commands is valid: YAML, JSON, CSV, Python and units of systemd.

Each such block has a check, here or in another test. Commands are run by test_commands_run.py.
"""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from probe_ext import load_run
from probe_ext.workload.rate_series import read_series
from probe_ext.workload.workload_file import Workload, parse_workload
from tests.docs.shell_lines import BLOCK, SHELL
from tests.docs.stand_ins import FILES
from tests.test_docs import PAGES, ROOT

ELSEWHERE = {
    ("README.md", "python"): "tests/test_locustfile_docs.py: typed, and run",
    ("locustfiles.md", "python"): "tests/test_locustfile_docs.py: typed, and run",
    ("workloads/locustfile.md", "python"): "tests/test_docs.py: executed, and the workload read",
    ("workloads.md", "yaml"): "tests/test_docs.py: read",
    **{(f"workloads/{page}.md", "yaml"): "tests/test_docs.py: read" for page in ("file", "agents", "arrivals")},
    ("prompt-files.md", "json"): "tests/prompts/test_prompt_files.py: read",
    ("plan.md", "yaml"): "tests/docs/test_commands_run.py: read by `probe plan`",
    ("warm-up.md", "ini"): "tests/docs/test_commands.py: its command is accepted; systemd is not run",
}
"""page and language: where the blocks are checked"""
NOT_RUN = {
    'run.replies.to_parquet("replies.parquet")': "needs pyarrow, which is no dependency of probe-ext",
}
"""statement: why it is not run"""


def name_of(page: Path) -> str:
    """Return the path below docs/, of pages outside it the path below the root."""
    return str(page.relative_to(ROOT / "docs" if (ROOT / "docs") in page.parents else ROOT))


def blocks(page: str, language: str) -> list[str]:
    text = next(path for path in PAGES if name_of(path) == page).read_text(encoding="utf-8")
    return [block for found, block in BLOCK.findall(text) if found == language]


def workloads_with_a_trace(folder: Path) -> None:
    (folder / "monday.jsonl").write_text(FILES["monday.jsonl"]())
    recorded, in_turn = (_workload(block, folder) for block in blocks("traces.md", "yaml"))
    assert recorded.trace
    assert in_turn.trace
    assert in_turn.arrivals.form == "users"


def workload_with_a_prompt_file(folder: Path) -> None:
    (folder / "tickets.jsonl").write_text(blocks("prompt-files.md", "json")[0])
    (block,) = blocks("prompt-files.md", "yaml")
    (kind,) = _workload(block, folder).kinds
    assert kind.prompts
    assert kind.prompts.file


def _workload(block: str, folder: Path) -> Workload:
    return parse_workload({"name": "docs", **yaml.safe_load(block)}, "docs", folder)


def kinds_with_servers_of_their_own(folder: Path) -> None:
    (block,) = blocks("workloads/servers.md", "yaml")
    assert _workload(block, folder).has_hosts


def rates_of_a_day(folder: Path) -> None:
    (block,) = blocks("workloads/arrivals.md", "csv")
    (folder / "day.csv").write_text(block)
    assert [step.rate for step in read_series(folder / "day.csv")][:2] == [
        12_000,
        30_500,
    ]  # thousandths of a request per second


def jobs_of_ci(_: Path) -> None:
    github, gitlab = (yaml.safe_load(block)["capacity"] for block in blocks("ci.md", "yaml"))
    action = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    template = yaml.safe_load((ROOT / "docs" / "gitlab" / "probe-ext.yml").read_text())
    (used,) = [step["with"] for step in github["steps"] if "with" in step]
    assert {name for name, one in action.items() if one.get("required")} <= set(used) <= set(action)
    assert set(gitlab["variables"]) <= set(template[gitlab["extends"]]["variables"])


def pods_that_warm_up(_: Path) -> None:
    sidecar, hook = (yaml.safe_load(block) for block in blocks("warm-up.md", "yaml"))
    probe = sidecar["containers"][1]["startupProbe"]
    command = probe["exec"]["command"]
    assert command == hook["lifecycle"]["postStart"]["exec"]["command"]
    text = (ROOT / "docs" / "warm-up.md").read_text()
    assert command[:3] == shlex.split(next(line for line in text.splitlines() if "warmup http://127" in line))[:3]
    assert probe["timeoutSeconds"] > 60 * int(command[command.index("--wait") + 1].removesuffix("m"))


def statements_of_a_notebook(folder: Path) -> None:
    statements, *others = blocks("notebooks.md", "python")
    (place,) = re.findall(r'load_run\("([^"]+)"\)', statements)
    shutil.copytree(ROOT / "reports" / "examples" / "vllm", folder / place)
    names: dict[str, Any] = {}
    exec(statements.replace(place, str(folder / place)), names)
    assert isinstance(names["run"], type(load_run(folder / place)))
    assert [other.strip() for other in others] == list(NOT_RUN)


CHECKS: dict[tuple[str, str], Callable[[Path], None]] = {
    ("traces.md", "yaml"): workloads_with_a_trace,
    ("prompt-files.md", "yaml"): workload_with_a_prompt_file,
    ("workloads/servers.md", "yaml"): kinds_with_servers_of_their_own,
    ("workloads/arrivals.md", "csv"): rates_of_a_day,
    ("ci.md", "yaml"): jobs_of_ci,
    ("warm-up.md", "yaml"): pods_that_warm_up,
    ("notebooks.md", "python"): statements_of_a_notebook,
}


def test_every_block_has_a_check() -> None:
    shown = {
        (name_of(page), language)
        for page in PAGES
        for language, _ in BLOCK.findall(page.read_text(encoding="utf-8"))
        if language not in SHELL | {"text"}
    }
    assert shown == set(CHECKS) | set(ELSEWHERE)


@pytest.mark.parametrize(("page", "language"), CHECKS)
def test_blocks_are_valid(page: str, language: str, tmp_path: Path) -> None:
    CHECKS[page, language](tmp_path)
