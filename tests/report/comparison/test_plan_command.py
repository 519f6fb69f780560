"""`probe plan`: replicas, cost and room by what is proven."""

import json
from argparse import ArgumentParser
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from probe_ext.compare.plan_capacity import Demand, outage_share, outage_text, plan
from probe_ext.compare.plan_values import OutageShare, Plan, PlannedSetUp
from probe_ext.compare.set_up import Run, SetUp
from probe_ext.exit_codes import ExitCode
from probe_ext.report import plan_command
from probe_ext.report.inputs import compared_runs
from probe_ext.report.inputs.machine_prices import machine_prices
from probe_ext.settings.errors import SettingsError
from probe_ext.verdict.judge import judge
from probe_ext.verdict.results.team_size import Given
from tests.test_docs import names, section, tables

EXAMPLES = Path(__file__).parents[3] / "reports" / "examples"


def run(held: int | None, price: float | None = None, **more: Any) -> Run:
    """A run that proved so many users to be served, with 100 tokens/s at each level."""
    levels = [
        {"users": users, "state": "held", "band": False, "total_tokens_per_s": 100.0 * users}
        for users in (4, 8, 16)
        if held and users <= held
    ]
    capacity = {"verdict": "valid", "bracket": [held, None], "levels": levels, "breaks_first": "typing", **more}
    return Run("run", capacity, price_per_hour=price)


def planned(*runs: Run, people: int = 20, think: float | None = None) -> Plan:
    set_ups = [SetUp(f"s{number}", [one]) for number, one in enumerate(runs)]
    return (
        plan(set_ups[:1], Demand(people, think)) if len(set_ups) == 1 else _without_comparison(set_ups, people, think)
    )


def _without_comparison(set_ups: list[SetUp], people: int, think: float | None) -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probe_ext.compare.plan_capacity._change", lambda _: "")
        return plan(set_ups, Demand(people, think))


def test_replicas_cover_the_people_by_what_is_proven() -> None:
    (one,) = planned(run(8, 0.5)).set_ups
    assert (one.people_per_replica, one.replicas, one.spare_people, one.basis) == (8, 3, 4, "measured")
    assert one.cost_per_hour == pytest.approx(1.5)
    assert one.cost_per_person_hour == pytest.approx(0.075)
    assert one.cost_per_served_user_hour == pytest.approx(0.0625)
    assert one.first_limit == "typing"


def test_the_cheapest_is_that_of_all_replicas_together() -> None:
    found = planned(run(4, 0.3), run(16, 0.5), people=17)
    assert [one.cost_per_hour for one in found.set_ups] == pytest.approx([1.5, 1.0])
    assert found.cheapest == "s1"
    assert found.sentence.startswith("2 replicas of s1 serve 17 people for 1.00 an hour, with room for 15 more")


def test_cost_per_token_is_compared_at_a_level_that_all_serve() -> None:
    found = planned(run(4, 3.6), run(16, 3.6))
    assert found.common_level == 4
    assert [one.cost_per_million_tokens for one in found.set_ups] == pytest.approx([2.5, 2.5])
    assert planned(run(4, 1.0), run(None, 1.0)).common_level is None


def test_without_proof_nothing_is_planned() -> None:
    found = planned(run(None, 1.0))
    assert found.set_ups[0].replicas is None
    assert found.set_ups[0].cost_per_hour is None
    assert "not known which set-up serves 20 people" in found.sentence
    assert "no number of users is proven" in found.sentence


def test_an_invalid_run_serves_nobody() -> None:
    (one,) = planned(run(8, verdict="invalid")).set_ups
    assert (one.people_per_replica, one.why) == (None, "a run is invalid")


def test_people_who_think_are_the_runs_own_if_they_paused_as_long() -> None:
    (one,) = planned(run(16, think_time={"mean": 28.0}), think=30.0).set_ups
    assert (one.people_per_replica, one.basis) == (16, "measured")
    (other,) = planned(run(16, think_time={"mean": 5.0}), think=30.0).set_ups
    assert other.people_per_replica is None
    assert "paused 5.0 s" in other.why
    (at_once,) = planned(run(16, think_time={"mean": 5.0})).set_ups
    assert at_once.people_per_replica is None


def test_otherwise_they_are_the_cautious_team_and_the_sentence_says_so() -> None:
    found = planned(run(8, team={"people_low": 40}), think=30.0)
    assert (found.set_ups[0].people_per_replica, found.set_ups[0].basis) == (40, "computed")
    assert "computed from people who don't pause" in found.sentence


def test_of_repeated_runs_the_most_cautious_counts() -> None:
    (one,) = plan([SetUp("s", [run(16), run(8)])], Demand(20, None)).set_ups
    assert one.people_per_replica == 8


def test_an_outage_poisons_a_window_as_long_as_it_is() -> None:
    found = outage_share(300.0, 900.0)
    assert found.even == pytest.approx(1 / 3)
    assert found.waiting == pytest.approx(0.2)
    assert found.clean_after == 900.0
    assert "33 %" in outage_text(found)
    assert outage_share(1000.0, 900.0).even == 1.0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "must be a list of machines"),
        ("- a", "must have name and price_per_hour"),
        ("- {name: a, price_per_hours: 1}", "price_per_hours: unknown key .did you mean price_per_hour"),
        ("- {name: a, price_per_hour: free}", "must be an amount above 0"),
        ("- {name: a, price_per_hour: 1}\n- {name: a, price_per_hour: 2}", "a: is listed twice"),
        ("- {price_per_hour: 1}", "name: must be a text"),
        ("a: [", "not valid YAML"),
    ],
)
def test_machines_are_checked(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "machines.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=f"machines.yaml.*{why}"):
        machine_prices(file)


def command(*arguments: str) -> int:
    parser = ArgumentParser()
    plan_command.add_arguments(parser)
    return plan_command.main(parser.parse_args(arguments))


def test_writes_document_and_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "machines.yaml").write_text("- {name: cpu, price_per_hour: 0.2}\n", encoding="utf-8")
    run_ = f"cpu={EXAMPLES / 'vllm'}"
    given = (run_, "--people", "10", "--machines", str(tmp_path / "machines.yaml"), "--outage", "5m")
    assert command(*given, "--out", str(tmp_path / "out")) == ExitCode.OK
    content = json.loads((tmp_path / "out" / "plan.json").read_text(encoding="utf-8"))
    assert content["sentence"] in capsys.readouterr().out
    assert set(content["outage"]) == {field.name for field in fields(OutageShare)}
    assert (tmp_path / "out" / "summary.md").read_text(encoding="utf-8").startswith("### ")


def test_runs_are_judged_with_the_think_time_that_is_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Given] = []

    def judged(*arguments: Any, given: Given, **options: Any) -> Any:
        asked.append(given)
        return judge(*arguments, given=given, **options)

    monkeypatch.setattr(compared_runs, "judge", judged)
    assert command(f"cpu={EXAMPLES / 'vllm'}", "--people", "10", "--think-time", "30s") == ExitCode.OK
    assert [given.think_time for given in asked] == [30.0]


def test_a_set_up_without_a_price_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "machines.yaml").write_text("- {name: cpus, price_per_hour: 0.2}\n", encoding="utf-8")
    given = (f"cpu={EXAMPLES / 'vllm'}", "--people", "10", "--machines", str(tmp_path / "machines.yaml"))
    assert command(*given) == ExitCode.USAGE
    assert "no machine named cpu (did you mean cpus?)" in capsys.readouterr().err


def test_keys_and_options_are_documented() -> None:
    top, each = tables(section("docs/plan.md", "plan.json"))
    assert names(top, 0) == ["schema", *(field.name for field in fields(Plan))]
    assert names(each, 0) == [field.name for field in fields(PlannedSetUp)]
    parser = ArgumentParser(add_help=False)
    plan_command.add_arguments(parser)
    flags = [action.option_strings[0] for action in parser._actions if action.option_strings]
    assert names(tables(section("docs/plan.md", "Planning capacity"))[0], 0) == flags


def test_a_run_may_be_planned_with_another_price() -> None:
    assert planned(replace(run(8), price_per_hour=2.0), people=8).set_ups[0].cost_per_hour == 2.0
