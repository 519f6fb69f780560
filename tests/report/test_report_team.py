"""A team and a cost in the report: where they were asked for, and nowhere else."""

import argparse
import json
from pathlib import Path

import pytest
from report_views import viewed

from probe_ext.exit_codes import ExitCode
from probe_ext.report import report_command


def report(*given: str) -> int:
    parser = argparse.ArgumentParser()
    report_command.add_arguments(parser)
    return report_command.main(parser.parse_args(list(given)))


def test_what_is_asked_for_stands_in_every_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(str(run), "--team-think-time", "1m", "--price-per-hour", "2.5") == ExitCode.OK
    said = capsys.readouterr().out
    page, summary = ((run / name).read_text(encoding="utf-8") for name in ("capacity.html", "summary.md"))
    capacity = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    assert (capacity["team"]["think_time"], capacity["cost"]["price_per_hour"]) == (60.0, 2.5)
    for text in (said, page, summary):
        assert "that is a team of about" in text
        assert "At 2.50 an hour" in text
    assert "For how many people, and at what cost" in page


def test_what_the_run_was_given_stands_without_asking_and_a_later_word_goes_before_it(run: Path) -> None:
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    told["options"] |= {"team_think_time": 30.0, "price_per_hour": 1.0}
    (run / "run.json").write_text(json.dumps(told), encoding="utf-8")
    assert report(str(run), "--quiet", "--price-per-hour", "4") == ExitCode.OK
    capacity = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    assert (capacity["team"]["think_time"], capacity["cost"]["price_per_hour"]) == (30.0, 4.0)


def test_without_both_there_is_no_word_of_it(run: Path) -> None:
    view = viewed(run)
    assert (view.team, view.team_facts) == ([], [])
    assert "at what cost" not in (run / "capacity.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("wrong", [["--team-think-time", "soon"], ["--price-per-hour", "0"]])
def test_nonsense_is_refused(wrong: list[str], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        report(str(run), *wrong)
    assert left.value.code == ExitCode.USAGE
    assert wrong[0] in capsys.readouterr().err
