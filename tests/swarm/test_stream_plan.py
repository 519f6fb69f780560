"""Which plan a run has, by its options and its workload."""

from pathlib import Path
from typing import Any

import pytest

from probe_ext.load.level_plan import LevelPlan
from probe_ext.load.series_plan import SeriesPlan
from probe_ext.measure.rate import Rate
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.settings.slo import FirstWord, SloProfile, Typing
from probe_ext.swarm.preparation.preflight import plan_line, refuse_mixture
from probe_ext.swarm.preparation.stream_plan import form_of, give_up_times, is_open_stream, kinds_of, plan_of, rates_of
from probe_ext.verdict.grading.kind_profiles import OTHERS, Kind, KindProfiles
from probe_ext.workload.arrival_times import ArrivalForm
from probe_ext.workload.workload_file import Workload, parse_workload

CHAT = SloProfile(name="chat", first_word=FirstWord(served=5.0, strained=10.0), typing=Typing(served=10, strained=5))
TWO_KINDS = [{"name": "chat", "share": 3}, {"name": "code", "share": 1}]


def workload(arrivals: Any = "users", kinds: Any = None, folder: Path = Path()) -> Workload:
    content = {"name": "team", "kinds": kinds or [{"name": "chat"}], "arrivals": arrivals}
    return parse_workload(content, "team.yaml", folder)


def day(folder: Path, text: str = "0,2\n60,4\n") -> Workload:
    (folder / "day.csv").write_text(text)
    return workload({"series": {"file": "day.csv", "rate_scale": 2, "time_scale": 6}}, folder=folder)


def test_rates_are_held_whatever_the_workload_says(tmp_path):
    options = read_options({"rate": "2,4"})
    for given in (None, workload(), workload("constant"), day(tmp_path)):
        plan = plan_of(options, given)
        assert isinstance(plan, LevelPlan)
        assert rates_of(plan) == (Rate.of(2), Rate.of(4))


def test_users_who_wait_have_levels():
    for options in (read_options({"levels": "2,4"}), read_options({"search": "1"}), read_options({})):
        assert plan_of(options, workload()) == options.plan
        assert rates_of(options.plan) == ()


def test_a_series_is_its_own_plan(tmp_path):
    plan = plan_of(read_options({"settle": "1s"}), day(tmp_path))
    assert isinstance(plan, SeriesPlan)
    assert [(step.rate.per_second, step.seconds) for step in plan.steps] == [(4.0, 10.0), (8.0, 10.0)]
    assert rates_of(plan) == (Rate.of(4), Rate.of(8))
    assert plan_line(plan) == "2 steps of up to 8 requests/s: 20 s"


def test_the_workload_says_how_gaps_are_distributed(tmp_path):
    assert form_of(None) == form_of(workload()) == form_of(day(tmp_path)) == ArrivalForm("poisson")
    assert form_of(workload("constant")) == ArrivalForm("constant")
    assert form_of(workload({"gamma": {"cv": 2}})) == ArrivalForm("gamma", 2.0)
    assert is_open_stream(workload("poisson"))
    assert not is_open_stream(workload())


def test_arrivals_are_of_the_kinds_by_their_shares():
    assert kinds_of(workload("poisson", TWO_KINDS)) == {"chat": 0.75, "code": 0.25}
    assert kinds_of(workload("poisson")) == kinds_of(None) == {}


@pytest.mark.parametrize(
    ("given", "arrivals", "kinds", "why"),
    [
        ({}, "poisson", None, "--rate: is missing; the workload team is an open stream"),
        ({"levels": "2,4"}, "poisson", None, "--levels 2,4: the workload team is an open stream"),
        ({"search": "1"}, {"gamma": {"cv": 3}}, None, "--search: the workload team is an open stream"),
        ({"rate": "1"}, "users", [{"name": "a"}, {"name": "b", "users": 2}], "the kind b .* fixed number of users"),
        (
            {"rate": "1", "max_in_flight": "1"},
            "users",
            TWO_KINDS,
            "--max-in-flight 1: leaves no connection",
        ),
    ],
)
def test_options_that_do_not_fit_the_workload_are_refused(given, arrivals, kinds, why):
    with pytest.raises(SettingsError, match=why):
        plan_of(read_options(given), workload(arrivals, kinds))


def test_a_series_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(
        SettingsError, match=r"workload team: arrivals\.series\.file: .*day\.csv: line 2: 'x' is not a rate"
    ):
        plan_of(read_options({}), day(tmp_path, "0,2\n60,x\n"))


@pytest.mark.parametrize(
    ("arrivals", "why"),
    [
        ({"gamma": {"cv": 0.01}}, "cv"),
        ({"gamma": {"cv": 50}}, "cv"),
        ({"poisson": {"rate_scale": 2}}, "rate_scale: belongs to series"),
        ({"constant": {"time_scale": 2}}, "time_scale: belongs to series"),
        ("bursts", "bursts"),
    ],
)
def test_invalid_arrivals_are_refused(arrivals, why):
    with pytest.raises(SettingsError, match=why):
        workload(arrivals)


def test_a_plan_and_locusts_own_users_exclude_each_other(tmp_path):
    class Given:
        num_users, spawn_rate, run_time = 4, None, None

    for plan, named in (
        (read_options({"rate": "2"}).plan, "--rate"),
        (day(tmp_path) and plan_of(read_options({}), day(tmp_path)), "the workload's series"),
    ):
        with pytest.raises(SettingsError, match=f"-u 4: cannot be combined with {named}"):
            refuse_mixture(Given(), plan)
    refuse_mixture(Given(), None)


def test_an_arrival_waits_as_long_as_the_profile_of_its_kind_lets_a_first_word_take():
    quick, slow = (CHAT.model_copy(update={"first_word": FirstWord(served=s, strained=2 * s)}) for s in (1.0, 30.0))
    untimed = CHAT.model_copy(update={"first_word": None})
    chat, review, idle = Kind("chat", quick, 0.5), Kind("review", slow, 0.5), Kind("idle", quick, 0.0)
    others = Kind(OTHERS, CHAT)
    assert give_up_times(KindProfiles(CHAT, (chat, review, idle, others))) == (10.0, {"chat": 2.0, "review": 60.0})
    assert give_up_times(KindProfiles(CHAT, (review, idle, others))) == (60.0, {})
    assert give_up_times(KindProfiles(quick)) == (2.0, {})
    assert give_up_times(KindProfiles(untimed)) == (10.0, {})
