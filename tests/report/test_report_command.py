"""`probe report`: exit codes, files, and one-line errors."""

import argparse
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
import synthetic_run

from probe_ext.bundled import folder
from probe_ext.exit_codes import ExitCode
from probe_ext.measure.findings import recorded_finding
from probe_ext.report import report_command
from probe_ext.report.outputs import terminal
from probe_ext.report.outputs.gate import gate
from probe_ext.run import manifest
from probe_ext.settings.slo import load_profile


def report(*words: str) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser()
    report_command.add_arguments(parser)
    return report_command.main(parser.parse_args(list(words)))


def test_the_output_ends_with_the_answer_and_the_path(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(str(run)) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    capacity = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    assert lines[-3] == capacity["sentence"]
    assert lines[-2] == f"To narrow the answer (about 6 minutes): {capacity['next_command']}"
    assert lines[-1] == f"report: {run / 'capacity.html'}"
    assert "SLO profile: chat" in lines
    row = next(line for line in lines if line.rstrip().endswith("fails")).split()
    assert row[:8] == ["8", "56", "%", "33–76", "0", "%", "54", row[7]]
    assert [line for line in lines if line.startswith("What limits the server: the KV cache is full from 8 users on")]
    assert not any("\x1b" in line for line in lines)


def test_quiet_prints_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(str(run), "--quiet") == ExitCode.OK
    assert capsys.readouterr().out == ""


def test_capacity_json_is_the_judgement(run: Path) -> None:
    built = report_command.build(run)
    assert (run / "summary.md").read_text(encoding="utf-8").startswith("### ✅ About 6 people")
    written = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(built.judgement.to_json()))
    assert (written["served_users"], written["bracket"], written["breaks_first"]) == (6, [4, 8], "silence")


@pytest.mark.parametrize(
    ("users", "code", "text", "heading"),
    [
        (4, ExitCode.OK, "at least 4 users served: met, 4 held", "✅ Gate passed ("),
        (1, ExitCode.OK, "at least 1 user served: met, 4 held", "✅ Gate passed ("),
        (6, ExitCode.GATE, "at least 6 users served: unproven, 4 held, and 6 was not proven", "❔ Gate unproven ("),
        (8, ExitCode.GATE, "at least 8 users served: missed, 8 are too many", "❌ Gate failed ("),
    ],
)
def test_gate(run: Path, capsys: pytest.CaptureFixture[str], users: int, code: int, text: str, heading: str) -> None:
    assert report(str(run), "--fail-under-users", str(users)) == code
    assert f"gate: {text}" in capsys.readouterr().out
    summary = (run / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith(f"### {heading}{text.partition(':')[0]}): ")
    assert f"gate: {text}" in summary


def answered_with(run: Path, **columns: object) -> None:
    """Overwrite columns of every complete reply."""
    rows = pd.read_csv(run / "requests.csv")
    for name, value in columns.items():
        rows.loc[rows["outcome"] == "complete", name] = value
    rows.to_csv(run / "requests.csv", index=False)


def test_gate_is_not_met_by_stubs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answered_with(run, tokens_out=1, tokens_first=1, tokens_visible=1, longest_gap=0.01, tpot=0.01)
    assert report(str(run), "--fail-under-users", "4") == ExitCode.GATE
    text = "gate: at least 4 users served: unproven, 4 held, but with replies cut short"
    assert text in capsys.readouterr().out.splitlines()
    assert f"**❔ {text}**" in (run / "summary.md").read_text(encoding="utf-8").splitlines()
    suite = ET.parse(run / "junit.xml").getroot()
    assert [failure.get("message") for failure in suite.iter("failure")] == [text]
    assert report(str(run), "--quiet") == ExitCode.OK, "without a gate"


def test_gate_is_not_met_if_a_single_sign_points_to_stubs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answered_with(run, tokens_out=1, tokens_first=1, tokens_visible=1, longest_gap=0.01, tpot=0.01)
    rows = pd.read_csv(run / "requests.csv")
    rows.loc[rows.index[rows["outcome"] == "complete"][::20], ["tokens_out", "tokens_visible"]] = 40
    rows.to_csv(run / "requests.csv", index=False)
    assert report(str(run), "--fail-under-users", "4") == ExitCode.GATE
    rules = json.loads((run / "capacity.json").read_text(encoding="utf-8"))["diagnosis"]["rules"]
    assert [rule["confidence"] for rule in rules if rule["rule"] == "cut_answers"] == ["low"]
    assert "unproven, 4 held, but with replies cut short" in capsys.readouterr().out


def test_gate_is_not_met_by_a_response_cache_but_can_be_missed() -> None:
    judged = {"verdict": "valid", "bracket": [8, 16], "suggestion": None, "diagnosis": {"bounds": ["response_cache"]}}
    asked = [gate(judged, users) for users in (8, 16)]
    assert [(one.met, one.sentence.split(": ")[-1]) for one in asked if one] == [
        (False, "unproven, 8 held, but with replies from a response cache"),
        (False, "missed, 16 are too many"),
    ]


def test_gate_of_the_run_itself_counts(run: Path) -> None:
    content = synthetic_run.manifest_of()
    content["options"]["fail_under_users"] = 8
    manifest.write(run, content)
    assert report(str(run), "--quiet") == ExitCode.GATE
    assert report(str(run), "--quiet", "--fail-under-users", "4") == ExitCode.OK


def test_lost_rows_make_the_run_invalid(run: Path) -> None:
    content = synthetic_run.manifest_of()
    content["workers"][0]["started"] += 7
    manifest.write(run, content)
    assert report(str(run), "--quiet", "--fail-under-users", "1") == ExitCode.INVALID
    assert json.loads((run / "capacity.json").read_text(encoding="utf-8"))["verdict"] == "invalid"


def test_an_invalid_run_leads_to_help(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(str(run))
    assert terminal.HELP not in capsys.readouterr().out
    content = synthetic_run.manifest_of()
    content["workers"][0]["started"] += 7
    manifest.write(run, content)
    report(str(run))
    assert terminal.HELP in capsys.readouterr().out
    for page in re.findall(r"docs/\S+\.md", terminal.HELP):
        assert (Path(__file__).parents[2] / page).exists()


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_no_run_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(str(tmp_path / "nowhere")) == ExitCode.USAGE
    assert "no run here (run.json is missing)" in one_line(capsys)


def test_unreadable_manifest(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "run.json").write_text("{", encoding="utf-8")
    assert report(str(run)) == ExitCode.USAGE
    assert "run.json" in one_line(capsys)


def test_manifest_of_another_schema(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest.write(run, synthetic_run.manifest_of(schema=99))
    assert report(str(run)) == ExitCode.USAGE
    assert "schema: 99" in one_line(capsys)


def test_misspelt_key_in_a_profile(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("first_wrod: {served: 1, strained: 10}\n", encoding="utf-8")
    assert report(str(run), "--slo", str(profile)) == ExitCode.USAGE
    error = one_line(capsys)
    assert "first_wrod" in error
    assert "mine.yaml" in error


def test_profile_that_does_not_exist(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(str(run), "--slo", "chatt") == ExitCode.USAGE
    assert "--slo chatt" in one_line(capsys)


@pytest.mark.parametrize("users", ["0", "-1", "many"])
def test_invalid_gate(run: Path, users: str) -> None:
    with pytest.raises(SystemExit) as stop:
        report(str(run), "--fail-under-users", users)
    assert stop.value.code == ExitCode.USAGE


def test_a_run_can_be_judged_by_another_profile(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = run.parent / "patient.yaml"
    slow.write_text("silence: {served: 30, strained: 60}\n", encoding="utf-8")
    assert report(str(run), "--slo", str(slow)) == ExitCode.OK
    assert "At least 4 people can use this at once." in capsys.readouterr().out
    assert f"--slo={slow}" in json.loads((run / "capacity.json").read_text(encoding="utf-8"))["next_command"]


MORE: tuple[object, ...] = ([1, "x"], None, True)
"""further values that no key of the manifest may have"""


def test_killed_run_still_gets_its_verdict(run: Path) -> None:
    for name in ("requests.csv", "requests-w1.csv", "users.csv", "server.csv", "sketches.jsonl"):
        (run / name).write_bytes((run / name).read_bytes()[:-9])
    (run / "locust_stats.csv").unlink()
    manifest.write(run, synthetic_run.manifest_of(ended_at=None, duration=None, end_reason=None))
    assert report(str(run), "--quiet") in {ExitCode.OK, ExitCode.INVALID}
    assert "cut off" in (run / "capacity.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("nonsense", ["x", 3, {"x": [1]}, *(pytest.param(n, marks=pytest.mark.long) for n in MORE)])
def test_a_nonsense_manifest_still_gets_a_report(run: Path, nonsense: object) -> None:
    keys = [key for key in synthetic_run.manifest_of() if key != "schema"]
    manifest.write(run, {"schema": 1, **dict.fromkeys(keys, nonsense)})
    assert report(str(run), "--quiet") in {ExitCode.OK, ExitCode.INVALID}


def test_junit_has_a_case_for_the_run_each_level_and_the_gate(run: Path) -> None:
    report(str(run), "--quiet", "--fail-under-users", "8")
    suite = ET.parse(run / "junit.xml").getroot()
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases == {
        "the run is valid": [],
        "1 user": [],
        "2 users": [],
        "4 users": [],
        "8 users": ["failure"],
        "at least 8 users served": ["failure"],
    }
    assert (suite.get("tests"), suite.get("failures")) == ("6", "2")


def test_the_summary(run: Path) -> None:
    report(str(run), "--quiet", "--fail-under-users", "4")
    lines = (run / "summary.md").read_text(encoding="utf-8").splitlines()
    sentence = json.loads((run / "capacity.json").read_text(encoding="utf-8"))["sentence"]
    assert lines[0] == f"### ✅ Gate passed (at least 4 users served): {sentence}"
    assert "**✅ gate: at least 4 users served: met, 4 held**" in lines
    assert "Proven: 4 holds, as do 1 and 2; 8 fails." in lines, "the sentence has the interval already"
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert len(tables) == 12
    assert [len(set(tables[:6])), len(set(tables[6:]))] == [1, 1]


def test_no_other_files_are_written(run: Path) -> None:
    before = {path.name for path in run.iterdir()}
    report(str(run), "--quiet")
    assert {path.name for path in run.iterdir()} == before


def test_report_never_loads_locust() -> None:
    code = "import sys; import probe_ext.report.report_command; "
    code += "print([m for m in ('locust', 'gevent') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_is_judged_by_its_own_profile(run: Path) -> None:
    strict = load_profile("chat", folder("configs") / "slo").model_dump(mode="json")
    strict["first_word"]["served"] = 0.01
    report_command.build(run)
    assert json.loads((run / "capacity.json").read_text())["served_users"] > 0
    manifest.write(run, {**synthetic_run.manifest_of(), "profile": strict})
    report_command.build(run)
    assert json.loads((run / "capacity.json").read_text())["served_users"] == 0
    report_command.build(run, slo="chat")
    assert json.loads((run / "capacity.json").read_text())["served_users"] > 0


def test_a_profile_unknown_to_this_version_is_rejected(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest.write(run, {**synthetic_run.manifest_of(), "profile": {"name": "odd", "colour": 3}})
    assert report(str(run)) == ExitCode.USAGE
    assert "run.json: profile" in capsys.readouterr().err


def test_the_terminal_shows_what_was_cut_short(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = {"levels": [1, 2, 4, 8, 16], "hold": 40.0, "settle": 5.0, "min_replies": 3}
    manifest.write(run, synthetic_run.manifest_of(end_reason="interrupted", plan=plan))
    report(str(run))
    output = capsys.readouterr().out
    assert "! The run was interrupted before its end" in output
    assert "Not measured: 16 users." in output


def test_one_interruption_is_one_finding_with_one_advice(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [{"users": n, "measured_from": 40.0 * i + 5, "until": 40.0 * i + 40} for i, n in enumerate((1, 2, 4, 8))]
    search = {"outcome": None, "longest": 3600.0, "seconds_left": 250.0, "steps": [*steps, {"users": 6, "until": None}]}
    plan = {"levels": [1, 2, 4, 8, 6], "hold": 40.0, "settle": 5.0, "min_replies": 3, "search": search}
    live = [recorded_finding("search", "The search was stopped early.", "Let it end by itself.", state="unproven")]
    manifest.write(run, synthetic_run.manifest_of(end_reason="interrupted", plan=plan, findings=live))
    report(str(run))
    capacity = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    about = {"ended", "search", "levels", "planned_levels"}
    found = {one["check"]: one for one in capacity["findings"] if one["check"] in about}
    assert [name for name, one in found.items() if one["advice"]] == ["ended"]
    assert "let the run end" not in found["ended"]["advice"]
    assert (
        "a new one starts from the beginning and takes about 7 minutes. It may be stopped again"
        in found["ended"]["advice"]
    )
    assert capacity["next_seconds"] == 160.0 + 250.0
    assert "search" not in found
    assert "The search needed about 5 more minutes." in found["ended"]["why"]
    assert "The search needed about 5 more minutes" in capacity["sentence"]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("! ")]
    assert len([line for line in lines if "interrupted" in line or "search" in line or "6 users" in line]) == 1


def test_an_unproven_gate_fails_its_test_case_and_says_so(run: Path) -> None:
    report_command.build(run, required=6)
    suite = ET.parse(run / "junit.xml").getroot()
    (failure,) = suite.iter("failure")
    assert "unproven, 4 held, and 6 was not proven (probably about 6 are served, 95 %: 4 to 7)" in str(
        failure.get("message")
    )
    assert all(float(case.get("time") or 0) > 0 for case in suite if str(case.get("name")).endswith(("user", "users")))
