"""Team size and cost in the report, if requested."""

import argparse
import html
import json
import re
import shlex
from pathlib import Path

import pytest
from report_views import viewed

from probe_ext.exit_codes import ExitCode
from probe_ext.report import report_command
from probe_ext.report.outputs.summary_and_junit import markdown


def report(*given: str) -> int:
    parser = argparse.ArgumentParser()
    report_command.add_arguments(parser)
    return report_command.main(parser.parse_args(list(given)))


def test_both_are_in_every_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(str(run), "--team-think-time", "1m", "--price-per-hour", "2.5") == ExitCode.OK
    printed = capsys.readouterr().out
    page, summary = ((run / name).read_text(encoding="utf-8") for name in ("capacity.html", "summary.md"))
    capacity = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    assert (capacity["team"]["think_time"], capacity["cost"]["price_per_hour"]) == (60.0, 2.5)
    for text in (printed, page, summary):
        assert "A team of about " in text
        assert "At 2.50 an hour" in text
    assert "Team size and cost" in page


def test_the_command_that_proves_a_team_can_be_copied_from_every_text(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((run / "run.json").read_text(encoding="utf-8"))
    content["options"] |= {"header": ["X-A: <b`c> 'd'"]}
    (run / "run.json").write_text(json.dumps(content), encoding="utf-8")
    assert report(str(run), "--team-think-time", "1m") == ExitCode.OK
    printed = capsys.readouterr().out.splitlines()
    page, summary = ((run / name).read_text(encoding="utf-8") for name in ("capacity.html", "summary.md"))
    team = json.loads((run / "capacity.json").read_text(encoding="utf-8"))["team"]
    command = team["command"]
    assert "--think-time=60" in shlex.split(command)
    assert "--header=X-A: <b`c> 'd'" in shlex.split(command)
    said = team["sentence"].removesuffix(f"`{command}`")
    assert said.endswith("would prove it: ")
    assert f"{said}{command}" in printed
    assert f"{markdown(said)} `` {command} ``" in summary.splitlines()
    words = re.search(r'<code class="command" id="team-command">(.*?)</code>', page)
    assert words is not None
    assert shlex.split(html.unescape(re.sub("</?span>", "", words[1]))) == shlex.split(command)
    assert 'data-copy="team-command"' in page


def test_options_of_the_run_count_and_are_overridden(run: Path) -> None:
    content = json.loads((run / "run.json").read_text(encoding="utf-8"))
    content["options"] |= {"team_think_time": 30.0, "price_per_hour": 1.0}
    (run / "run.json").write_text(json.dumps(content), encoding="utf-8")
    assert report(str(run), "--quiet", "--price-per-hour", "4") == ExitCode.OK
    capacity = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    assert (capacity["team"]["think_time"], capacity["cost"]["price_per_hour"]) == (30.0, 4.0)


def test_what_was_asked_for_and_is_not_proven_says_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (run / "users.csv").read_text(encoding="utf-8").splitlines()
    (run / "users.csv").write_text("\n".join(rows[:12]) + "\n", encoding="utf-8")
    assert report(str(run), "--team-think-time", "1m", "--price-per-hour", "2.5") == ExitCode.OK
    assert json.loads((run / "capacity.json").read_text(encoding="utf-8"))["served_users"] is None
    said = "No team size and no cost: no number of users is proven to be served."
    for text in (
        capsys.readouterr().out,
        *((run / name).read_text("utf-8") for name in ("capacity.html", "summary.md")),
    ):
        assert said in text


def test_without_both_there_is_no_section(run: Path) -> None:
    view = viewed(run)
    assert (view.team, view.team_facts) == ([], [])
    assert "Team size and cost" not in (run / "capacity.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("wrong", [["--team-think-time", "soon"], ["--price-per-hour", "0"]])
def test_invalid_values_are_rejected(wrong: list[str], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        report(str(run), *wrong)
    assert left.value.code == ExitCode.USAGE
    assert wrong[0] in capsys.readouterr().err
