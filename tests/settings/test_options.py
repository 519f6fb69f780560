"""Options are read from text; errors name flag and value."""

import json
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


def test_defaults_read_from_text_equal_the_fields_defaults() -> None:
    options = read_options({})
    assert options == Options()
    assert options == read_options({option.name: option.default for option in OPTIONS})
    assert (options.model, options.api, options.input_tokens, options.max_tokens, options.usage) == (
        None,
        "chat",
        200,
        128,
        "continuous",
    )
    assert (options.levels, options.hold, options.settle, options.min_replies, options.plan) == (
        None,
        30.0,
        5.0,
        3,
        None,
    )
    limits = (
        options.timeout_connect,
        options.timeout_first,
        options.timeout_gap,
        options.timeout_total,
        options.patience,
    )
    assert limits == (10.0, 120.0, 120.0, 1800.0, None)
    assert (options.slo, options.out, options.metrics_url, options.metrics_every) == ("chat", None, (), 1.0)
    assert [getattr(options, name) for name in FLAGS] == [False] * len(FLAGS)


def test_missing_and_none_mean_the_default_and_unknown_names_are_ignored() -> None:
    assert read_options({"hold": None, "no_stream": None, "host": "http://x", "users": 3}) == read_options({})


def test_every_option_has_help_and_a_unique_flag_and_variable() -> None:
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
        ("temperature", ".7", 0.7),
        ("temperature", "1.", 1.0),
        ("temperature", "1e-2", 0.01),
        ("temperature", "+1E1", 10.0),
        ("top_p", "0.95", 0.95),
        ("top_p", "", None),
        ("levels", "1,2,4", (1, 2, 4)),
        ("search", "true", True),
        ("max_users", "96", 96),
        ("search_time", "1h", 3600.0),
        ("precision", "10%", 0.1),
        ("precision", "0.5", 0.5),
        ("hold", "2m", 120.0),
        ("hold", ".5m", 30.0),
        ("settle", "0", 0.0),
        ("think_time", "30s", 30.0),
        ("think_time", "0", 0.0),
        ("think_time", "1ms", 0.001),
        ("think_time", "24h", 86_400.0),
        ("patience", "10s", 10.0),
        ("drain", "0s", 0.0),
        ("metrics_url", "http://a/metrics, https://b/metrics,", ("http://a/metrics", "https://b/metrics")),
        ("fail_under_users", "8", 8),
        ("team_think_time", "1m", 60.0),
        ("team_think_time", "", None),
        ("price_per_hour", "2.5", 2.5),
        ("price_per_hour", "", None),
        ("warm_up", "auto", None),
        ("warm_up", "off", 0),
        ("warm_up", " 8 ", 8),
        ("slo", "", "chat"),
        ("out", " ", None),
    ],
)
def test_reads_text(name: str, text: object, value: object) -> None:
    assert getattr(read_options({name: text}), name) == value


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in (True, "1", "true", "TRUE", " yes ", "on")),
        *((text, False) for text in (False, "0", "false", "No", "off", "")),
    ],
)
def test_reads_flags_from_environment_text_too(name: str, text: object, value: bool) -> None:
    assert getattr(read_options({name: text}), name) is value


INVALID: list[tuple[str, str]] = [
    ("api", "chatt"),
    ("api", ""),
    ("api", "Chat"),
    ("usage", "always"),
    *(("input_tokens", text) for text in ("0", "-1", "1.5", "", "many", "1_000", "٣", "²", "9" * 5000)),
    *(("max_tokens", text) for text in ("0", "x")),
    *(("shared_prefix_tokens", text) for text in ("-1", "", "0.5")),
    ("prompt_seed", "-3"),
    ("prompt_seed", "seed"),
    *(
        ("temperature", text)
        for text in ("warm", "nan", "inf", "-inf", "1e999", ".", "e5", "1e", "1_0", "0,7", "0x1", "٣")
    ),
    ("top_p", "half"),
    *(("levels", text) for text in ("0,-3,x", "1,1", "1,,2", "1;2", "٣")),
    *(("hold", text) for text in ("0", "0s", "-5s", "", "soon", "30 s", "1h30", "5x", "1e3", "٣s")),
    *(("settle", text) for text in ("-1s", "soon")),
    ("min_replies", "0"),
    *(("think_time", text) for text in ("", "-1s", "soon", ".5ms", "25h")),
    *(("max_users", text) for text in ("0", "1000001", "lots")),
    *(("search_time", text) for text in ("0", "soon")),
    *(("precision", text) for text in ("0", "0%", "120%", "2", "narrow", "-5%", "%")),
    *((name, "0s") for name in ("timeout_connect", "timeout_first", "timeout_gap", "timeout_total", "patience")),
    ("drain", "never"),
    *(("warm_up", text) for text in ("0", "on", "")),
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


@pytest.mark.parametrize(("name", "text"), INVALID)
def test_errors_are_one_line_that_names_flag_and_value(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_options({name: text})
    message = str(caught.value)
    shown = text if len(text) <= 80 else text[:80] + "…"
    assert message.startswith(f"--{name.replace('_', '-')} {shown}: ")
    assert len(f"--{name} {shown}: ") < len(message) < 300
    assert message.isprintable()


def test_the_plan_follows_from_the_options() -> None:
    options = read_options({"levels": "1,8", "hold": "20s", "settle": "2s", "min_replies": "5"})
    assert options.plan == LevelPlan((1, 8), 20.0, 2.0, 5)
    search = read_options({"search": "on", "max_users": "64", "search_time": "10m", "hold": "20s"})
    assert search.plan == SearchPlan(hold=20.0, settle=5.0, min_replies=3, max_users=64, longest=600.0, precision=0.2)


def test_users_cannot_pause_in_an_open_stream() -> None:
    with pytest.raises(SettingsError, match=r"^--think-time 30s: cannot be combined with --rate, "):
        read_options({"think_time": "30s", "rate": "2"})
    assert read_options({"think_time": "0", "rate": "2"}).rate


def test_levels_cannot_be_combined_with_search() -> None:
    with pytest.raises(SettingsError, match="--levels 1,8: cannot be combined with --search"):
        read_options({"levels": "1,8", "search": True})


def test_as_json_has_every_option_without_credentials() -> None:
    options = read_options({"metrics_url": "http://ann:hunter2@box/metrics?token=hunter2&model=m", "levels": "1,2"})
    as_json: dict[str, Any] = json.loads(json.dumps(options.as_json()))
    assert set(as_json) == {option.name for option in OPTIONS}
    assert as_json["levels"] == [1, 2]
    assert "hunter2" not in json.dumps(as_json)
    assert as_json["metrics_url"][0].startswith("http://box/metrics")
    assert options.metrics_url == ("http://ann:hunter2@box/metrics?token=hunter2&model=m",)


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
        (".5s", 0.5),
        ("5.s", 5.0),
        ("0", 0.0),
        ("0.25", 0.25),
    ],
)
def test_reads_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "-1s", "+1s", "1 s", "1h30", "1d", "1,5s", ".s", "1..5s", "1e3", "nan", "inf", "٣s", "9" * 400],
)
def test_rejects_invalid_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid duration|too long"):
        seconds(text)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(h: int, m: int, s: int, ms: int) -> None:
    assert seconds(f"{h}h{m}m{s}s{ms}ms") == pytest.approx(3600 * h + 60 * m + s + ms / 1000)


@given(st.sampled_from([option.name for option in OPTIONS]), st.text(max_size=12))
def test_any_text_for_any_option_is_read_or_rejected_by_its_flag(name: str, text: str) -> None:
    try:
        read_options({name: text})
        message = None
    except SettingsError as error:
        message = str(error)
    assert message is None or (message.startswith("--" + name.replace("_", "-")) and "\n" not in message)


def test_a_gate_cannot_be_combined_with_no_report() -> None:
    with pytest.raises(SettingsError, match="--no-report: cannot be combined with --fail-under-users"):
        read_options({"fail_under_users": "50", "no_report": True})
    assert read_options({"no_report": True}).fail_under_users is None
    assert not read_options({"fail_under_users": "50"}).no_report
