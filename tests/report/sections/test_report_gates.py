"""Gates of `probe report` besides the number of users: exit code, line, summary and JUnit say the same."""

import shutil
import xml.etree.ElementTree as ET
from argparse import ArgumentParser
from pathlib import Path

import pytest

from probe_ext.exit_codes import ExitCode
from probe_ext.report import report_command

EXAMPLE = Path(__file__).parents[3] / "reports" / "examples" / "llamacpp"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama.cpp server with one slot, at 1 and 4 users."""
    return Path(shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("runs") / "run"))


@pytest.fixture(autouse=True)
def no_job_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def report(*arguments: str) -> int:
    parser = ArgumentParser()
    report_command.add_arguments(parser)
    return report_command.main(parser.parse_args(arguments))


def failures(run: Path) -> dict[str, str]:
    cases = ET.parse(run / "junit.xml").getroot().findall("testcase")
    return {
        str(case.get("name")): str(found.get("message"))
        for case in cases
        if (found := case.find("failure")) is not None
    }


def test_a_limit_that_is_missed_ends_with_one_and_names_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(str(run), "--fail-over", "ttft_p50=10ms@4,broken_share=90%@4") == ExitCode.GATE
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("gate: ttft_p50"))
    assert "missed" in line
    assert failures(run) == {"ttft_p50 at most 10 ms at 4 users": line}
    heading = (run / "summary.md").read_text(encoding="utf-8").splitlines()[0].replace("\\", "")
    assert heading.startswith("### ❌ Gate failed (ttft_p50 at most 10 ms at 4 users): ")


def test_limits_that_are_kept_end_with_zero(run: Path) -> None:
    assert report(str(run), "--quiet", "--fail-over", "ttft_p50=100@4,broken_share=90%@4") == ExitCode.OK
    assert not failures(run)
    heading = (run / "summary.md").read_text(encoding="utf-8").splitlines()[0]
    assert heading.startswith("### ✅ Gate passed (2 tests): ")
    case = ET.parse(run / "junit.xml").getroot().findall("testcase")[-1]
    assert float(str(case.get("time"))) > 0


def test_the_users_gate_and_the_others_count_together(run: Path) -> None:
    given = ("--fail-under-users", "1", "--fail-over", "ttft_p50=10ms@4")
    assert report(str(run), "--quiet", *given) == ExitCode.GATE
    heading = (run / "summary.md").read_text(encoding="utf-8").splitlines()[0]
    assert "Gate failed" in heading


def test_a_baseline_names_each_promise(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline = Path(shutil.copytree(EXAMPLE, tmp_path / "baseline"))
    code = report(str(run), "--baseline", str(baseline), "--margin", "90%")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("gate: ")]
    assert code == (ExitCode.OK if all(": met, " in line for line in lines) else ExitCode.GATE)
    assert len(lines) >= 2
    assert not any("missed" in line for line in lines)


def test_a_baseline_that_cannot_be_read_is_wrong_usage(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(str(run), "--baseline", "gone") == ExitCode.USAGE
    assert capsys.readouterr().err == "probe report: --baseline gone: neither a run directory nor a capacity.json\n"


def test_the_summary_is_appended_to_the_page_of_a_job(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    assert report(str(run), "--quiet") == ExitCode.OK
    assert page.read_text(encoding="utf-8") == "before\n" + (run / "summary.md").read_text(encoding="utf-8") + "\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "page.md"))
    assert report(str(run), "--quiet") == ExitCode.OK
    assert "GITHUB_STEP_SUMMARY" in capsys.readouterr().err
