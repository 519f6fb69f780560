"""Options: every default can be read, and what is wrong is refused by flag and value."""

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.load.boundary_search import SearchPlan
from probe_ext.load.level_plan import LevelPlan
from probe_ext.settings.durations import seconds
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import OPTIONS, Options, read_options

FLAGS = [option.name for option in OPTIONS if isinstance(option.default, bool)]


def test_the_table_and_the_frozen_options_name_the_same_things_in_the_same_order() -> None:
    assert [option.name for option in OPTIONS] == [f.name for f in fields(Options)]
    assert len(OPTIONS) > 25


def test_every_option_reads_its_own_default() -> None:
    made = read_options({})
    assert made == read_options({option.name: option.default for option in OPTIONS})
    assert (made.model, made.api, made.input_tokens, made.max_tokens, made.usage) == (
        None,
        "chat",
        200,
        128,
        "continuous",
    )
    assert (made.levels, made.hold, made.settle, made.min_replies, made.plan) == (None, 30.0, 5.0, 3, None)
    limits = (made.timeout_connect, made.timeout_first, made.timeout_gap, made.timeout_total, made.patience)
    assert limits == (10.0, 120.0, 120.0, 1800.0, None)
    assert (made.slo, made.out, made.metrics_url, made.metrics_every) == ("chat", None, (), 1.0)
    assert [getattr(made, name) for name in FLAGS] == [False] * len(FLAGS)


def test_what_is_missing_or_null_is_the_default_and_what_is_foreign_is_left_alone() -> None:
    assert read_options({"hold": None, "no_stream": None, "host": "http://x", "users": 3}) == read_options({})


def test_every_option_has_a_help_a_flag_and_a_variable_of_its_own() -> None:
    assert len({option.flag for option in OPTIONS}) == len(OPTIONS)
    for option in OPTIONS:
        assert option.flag == "--" + option.name.replace("_", "-")
        assert option.variable == "PROBE_" + option.name.upper()
        assert len(option.help) > 10


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("model", " Qwen/Qwen2.5-7B ", "Qwen/Qwen2.5-7B"),
        ("api", "completion", "completion"),
        ("input_tokens", " 4000 ", 4000),
        ("input_tokens", 4000, 4000),
        ("shared_prefix_tokens", "0", 0),
        ("prompt_seed", "0", 0),
        ("prompt_seed", " ", None),
        ("temperature", "0", 0.0),
        ("temperature", "-0.5", -0.5),
        ("top_p", "0.95", 0.95),
        ("top_p", "", None),
        ("levels", "1,2,4", (1, 2, 4)),
        ("search", "true", True),
        ("max_users", "96", 96),
        ("search_time", "1h", 3600.0),
        ("hold", "2m", 120.0),
        ("settle", "0", 0.0),
        ("patience", "10s", 10.0),
        ("drain", "0s", 0.0),
        ("metrics_url", "http://a/metrics, https://b/metrics,", ("http://a/metrics", "https://b/metrics")),
        ("fail_under_users", "8", 8),
        ("team_think_time", "1m", 60.0),
        ("team_think_time", "", None),
        ("price_per_hour", "2.5", 2.5),
        ("price_per_hour", "", None),
        ("slo", "", "chat"),
        ("out", " ", None),
    ],
)
def test_texts_are_read(name: str, text: object, value: object) -> None:
    assert getattr(read_options({name: text}), name) == value


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in (True, "1", "true", "TRUE", " yes ", "on")),
        *((text, False) for text in (False, "0", "false", "No", "off", "")),
    ],
)
def test_flags_are_read_from_the_text_of_an_environment_variable_too(name: str, text: object, value: bool) -> None:
    assert getattr(read_options({name: text}), name) is value


SAD: list[tuple[str, str]] = [
    ("api", "chatt"),
    ("api", ""),
    ("api", "Chat"),
    ("usage", "always"),
    *(("input_tokens", text) for text in ("0", "-1", "1.5", "", "many", "1_000", "٣", "²", "9" * 5000)),
    *(("max_tokens", text) for text in ("0", "x")),
    *(("shared_prefix_tokens", text) for text in ("-1", "", "0.5")),
    ("prompt_seed", "-3"),
    ("prompt_seed", "seed"),
    *(("temperature", text) for text in ("warm", "nan", "inf", "-inf", "1e5", "1_0", "0,7", "٣")),
    ("top_p", "half"),
    *(("levels", text) for text in ("0,-3,x", "1,1", "1,,2", "1;2", "٣")),
    *(("hold", text) for text in ("0", "0s", "-5s", "", "soon", "30 s", "1h30", "5x", "1e3", "٣s")),
    *(("settle", text) for text in ("-1s", "soon")),
    ("min_replies", "0"),
    *(("max_users", text) for text in ("0", "1000001", "lots")),
    *(("search_time", text) for text in ("0", "soon")),
    *((name, "0s") for name in ("timeout_connect", "timeout_first", "timeout_gap", "timeout_total", "patience")),
    ("drain", "never"),
    *(("metrics_url", text) for text in ("gpu-box:8000/metrics", "http://a/metrics,ftp://b")),
    ("metrics_every", "0"),
    ("fail_under_users", "0"),
    ("team_think_time", "soon"),
    ("price_per_hour", "0"),
    ("price_per_hour", "-1"),
    ("price_per_hour", "2 EUR"),
    ("no_stream", "ture"),
    ("insecure", "maybe"),
]


@pytest.mark.parametrize(("name", "text"), SAD)
def test_what_is_wrong_is_refused_in_one_line_that_names_flag_and_value(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_options({name: text})
    said = str(refused.value)
    shown = text if len(text) <= 80 else text[:80] + "…"
    assert said.startswith(f"--{name.replace('_', '-')} {shown}: ")
    assert len(f"--{name} {shown}: ") < len(said) < 300
    assert said.isprintable()


def test_the_plan_is_made_of_the_options_that_speak_of_it() -> None:
    made = read_options({"levels": "1,8", "hold": "20s", "settle": "2s", "min_replies": "5"})
    assert made.plan == LevelPlan((1, 8), 20.0, 2.0, 5)
    searching = read_options({"search": "on", "max_users": "64", "search_time": "10m", "hold": "20s"})
    assert searching.plan == SearchPlan(hold=20.0, settle=5.0, min_replies=3, max_users=64, longest=600.0)


def test_levels_and_a_search_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="--levels 1,8: --search finds its levels itself"):
        read_options({"levels": "1,8", "search": True})


def test_the_manifest_gets_every_option_as_json_and_no_credentials() -> None:
    made = read_options({"metrics_url": "http://ann:hunter2@box/metrics?token=hunter2&model=m", "levels": "1,2"})
    shown: dict[str, Any] = json.loads(json.dumps(made.as_json()))
    assert set(shown) == {option.name for option in OPTIONS}
    assert shown["levels"] == [1, 2]
    assert "hunter2" not in json.dumps(shown)
    assert shown["metrics_url"][0].startswith("http://box/metrics")
    assert made.metrics_url == ("http://ann:hunter2@box/metrics?token=hunter2&model=m",)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", 30.0),
        ("30s", 30.0),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("1h1m1s1ms", 3661.001),
        ("1.5h", 5400.0),
        (" 10S ", 10.0),
        ("0", 0.0),
        ("0.25", 0.25),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "-1s", "+1s", "1 s", "1h30", "1d", "1,5s", ".5s", "5.s", "1e3", "nan", "inf", "٣s", "9" * 400],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration|longer than any run"):
        seconds(text)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(h: int, m: int, s: int, ms: int) -> None:
    assert seconds(f"{h}h{m}m{s}s{ms}ms") == pytest.approx(3600 * h + 60 * m + s + ms / 1000)


@given(st.sampled_from([option.name for option in OPTIONS]), st.text(max_size=12))
def test_any_text_for_any_option_is_read_or_refused_by_its_flag(name: str, text: str) -> None:
    try:
        made, said = read_options({name: text}), ""
    except SettingsError as refused:
        made, said = None, str(refused)
    assert (made is not None) or (said.startswith("--" + name.replace("_", "-")) and "\n" not in said)


def test_a_gate_without_the_report_that_judges_it_is_refused() -> None:
    with pytest.raises(SettingsError, match="--no-report: --fail-under-users is judged by the report"):
        read_options({"fail_under_users": "50", "no_report": True})
    assert read_options({"no_report": True}).fail_under_users is None
    assert not read_options({"fail_under_users": "50"}).no_report
