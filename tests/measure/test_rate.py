"""Rates as loads: exact, ordered, and shown in requests per second."""

import copy

import pytest

from probe_ext.load.level_plan import LevelPlan, parse_rates
from probe_ext.measure.rate import Rate, as_json, in_unit_of
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import levels, more, people, things, unit


@pytest.mark.parametrize(
    ("per_second", "text"), [(2, "2"), (7.5, "7.5"), (0.05, "0.05"), (0.125, "0.125"), (1200, "1,200")]
)
def test_a_rate_is_shown_in_requests_per_second(per_second, text):
    rate = Rate.of(per_second)
    assert f"{rate:,}" == formats.count(rate) == text
    assert things(rate, "user") == people(rate) == f"{text} requests/s"
    assert rate.per_second == per_second
    assert isinstance(copy.deepcopy(rate), Rate)


def test_levels_are_named_by_their_unit():
    assert levels([4, 8]) == "4 and 8 users"
    assert levels([1]) == "1 user"
    assert levels([Rate.of(2), Rate.of(4.5)]) == "2 and 4.5 requests/s"
    assert (unit(3), unit(Rate.of(3))) == ("users", "requests/s")
    assert (more(3), more(Rate.of(3))) == ("more users", "higher rates")


def test_an_estimate_is_rounded_outwards_to_three_digits():
    like = Rate.of(1)
    assert in_unit_of(like, 7467.9) == Rate.of(7.46)
    assert in_unit_of(like, 7461.0, up=True) == Rate.of(7.47)
    assert in_unit_of(like, 123.4) == Rate(123)
    assert in_unit_of(like, 0.0) == 0
    assert in_unit_of(8, 7.9) == 7
    assert not isinstance(in_unit_of(8, 7.9), Rate)


def test_rates_are_read_with_their_decimals():
    assert parse_rates("0.5, 2,4.125") == (Rate.of(0.5), Rate.of(2), Rate.of(4.125))
    assert as_json(parse_rates(".5,2")) == [0.5, 2.0]


@pytest.mark.parametrize("text", ["", "0", "-1", "1e3", "nan", "1,,2", "0.0001", "100001", "2,x", "٣"])
def test_an_invalid_rate_is_named(text):
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rates(text)


def test_a_rate_is_not_repeated():
    with pytest.raises(ValueError, match=r"2\.5 is repeated"):
        parse_rates("1,2.5,2.50")


@pytest.mark.parametrize(("other", "named"), [({"levels": "1,2"}, "--levels"), ({"search": "1"}, "--search")])
def test_rates_exclude_levels_and_search(other, named):
    with pytest.raises(SettingsError, match=f"--rate 2,4: cannot be combined with {named}"):
        read_options({"rate": "2,4", **other})


def test_rates_make_a_plan_and_are_plain_numbers_in_the_manifest():
    options = read_options({"rate": "2,4.5"})
    plan = options.plan
    assert isinstance(plan, LevelPlan)
    assert plan.by_rate
    assert plan.begin().as_json()["rates"] == [2.0, 4.5]
    assert plan.begin().as_json()["levels"] == []
    assert options.as_json()["rate"] == [2.0, 4.5]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"rate": "2", "fail_under_users": "4"}, "--fail-under-users: cannot be combined with --rate"),
        ({"levels": "2", "fail_under_rate": "4"}, "--fail-under-rate 4: needs --rate"),
        ({"search": "1", "fail_under_rate": "0.5"}, "--fail-under-rate 0.5: needs --rate"),
        (
            {"rate": "2", "fail_under_rate": "1", "no_report": "1"},
            "--no-report: cannot be combined with --fail-under-rate",
        ),
    ],
)
def test_gates_and_loads_must_fit(given, why):
    with pytest.raises(SettingsError, match=why):
        read_options(given)
