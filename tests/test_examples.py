"""The committed real runs: whole, small, without secrets or paths, and rendering to the very page beside them."""

import json
import re
import shutil
from pathlib import Path

import pytest

from probe_ext.report.report_command import build

EXAMPLES = Path(__file__).parents[1] / "reports" / "examples"
RUNS = ("llamacpp", "vllm")
MADE = ("pauses.csv", "capacity.html", "capacity.json", "summary.md", "junit.xml")


def capacity(name: str) -> dict[str, object]:
    return dict(json.loads((EXAMPLES / name / "capacity.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", RUNS)
def test_a_committed_run_renders_to_the_committed_page(name: str, tmp_path: Path) -> None:
    copy = tmp_path / name
    shutil.copytree(EXAMPLES / name, copy)
    for made in MADE:
        (copy / made).unlink()
    build(copy)
    for made in MADE:
        assert (copy / made).read_bytes() == (EXAMPLES / name / made).read_bytes(), made


@pytest.mark.parametrize("name", RUNS)
def test_no_sentence_of_the_summary_ends_twice(name: str) -> None:
    assert not re.findall(r"\w+[)\]]*\. ?\.(?!\.)", (EXAMPLES / name / "summary.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RUNS)
def test_a_committed_run_proves_what_is_too_much_and_suggests_the_rest(name: str) -> None:
    judged = capacity(name)
    low, high = judged["levels"]  # type: ignore[misc]
    assert (low["state"], low["reasons"], high["state"]) == ("unproven", ["too_few_replies"], "failed")
    assert (judged["verdict"], judged["bracket"]) == ("unproven", [None, high["users"]])
    assert judged["suggestion"]["users"] == low["users"]  # type: ignore[index]
    assert judged["next_command"]


def test_the_vllm_run_shows_preemptions_as_silent_pauses() -> None:
    judged = capacity("vllm")
    failed = next(level for level in judged["levels"] if level["state"] == "failed")  # type: ignore[attr-defined]
    assert failed["preemptions"] > 0
    assert failed["longest_gap_max"] >= 2
    assert judged["breaks_first"] == "silence"


def test_the_llamacpp_run_claims_nothing_of_what_its_server_does_not_tell() -> None:
    for level in capacity("llamacpp")["levels"]:  # type: ignore[attr-defined]
        assert level["preemptions"] is None
        assert level["kv_usage_max"] is None


@pytest.mark.parametrize("name", RUNS)
def test_a_committed_run_is_small_and_tells_nothing_of_the_machine(name: str) -> None:
    files = [path for path in (EXAMPLES / name).iterdir() if path.is_file()]
    assert len(files) >= 12
    assert sum(path.stat().st_size for path in files) < 1_000_000
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "/home/" not in text
        assert "/root" not in text
