"""A trace as the load of a workload: its keys, what it leaves no room for, and its levels."""

import json
from pathlib import Path

import pytest

from probe_ext.access.workload_lengths import check_unused_options
from probe_ext.load.series_plan import SeriesPlan
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.swarm.preparation.stream_plan import plan_of
from probe_ext.workload.workload_file import Workload, read_workload

OPTIONS = Options()


def workload(folder: Path, text: str, requests: int = 40, every_ms: int = 500) -> Workload:
    lines = [{"timestamp": every_ms * i, "input_length": 100 * (i + 1), "output_length": 5} for i in range(requests)]
    (folder / "trace.jsonl").write_text("\n".join(map(json.dumps, lines)))
    path = folder / "mine.yaml"
    path.write_text(text)
    return read_workload(str(path))


def test_a_trace_alone_is_a_workload(tmp_path: Path) -> None:
    loaded = workload(tmp_path, "trace: {file: trace.jsonl}")
    assert [kind.name for kind in loaded.kinds] == ["trace"]
    assert (loaded.arrivals.form, loaded.trace and loaded.trace.file) == ("trace", str(tmp_path / "trace.jsonl"))
    named = read_workload(str(tmp_path / "trace.jsonl"))
    assert (named.name, named.trace, named.arrivals) == ("trace", loaded.trace, loaded.arrivals)


@pytest.mark.parametrize(
    "text",
    [
        "trace: {file: trace.jsonl, speed: [1, 2], start: 2s, end: 1m, block_tokens: 9}\nkinds: [{name: a, slo: chat}]",
        "trace: {file: trace.jsonl}\narrivals: users\nkinds: [{name: a, think_time: 1s, users: 3}]",
    ],
)
def test_workers_get_the_same_workload(tmp_path: Path, text: str) -> None:
    loaded = workload(tmp_path, text)
    message = json.loads(json.dumps(loaded.to_message()))
    assert Workload.of_message(message) == loaded


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kinds: [{name: a}]\narrivals: trace", "arrivals: 'trace': needs the key trace"),
        ("trace: {}", "trace.file: is missing"),
        ("trace: {file: x, speeed: 2}", "trace.speeed: unknown key (did you mean speed?)"),
        ("trace: {file: x, speed: 0}", "trace.speed: 0: must be a number from 0.001 to 1,000"),
        ("trace: {file: x, speed: [1, fast]}", "trace.speed: 'fast': must be a number"),
        ("trace: {file: x, speed: []}", "trace.speed: 0 speeds: must be 1 to 64"),
        ("trace: {file: x, speed: [1, 1]}", "trace.speed: repeats a speed"),
        ("trace: {file: x, start: -1}", "trace.start: -1"),
        ("trace: {file: x, end: soon}", "trace.end"),
        ("trace: {file: x, start: 10, end: 5}", "trace.end: 5: must be later than start (10)"),
        ("trace: {file: x, block_tokens: 0}", "trace.block_tokens: 0"),
        ("trace: {file: x}\narrivals: poisson", "arrivals: 'poisson': with a trace"),
        ("trace: {file: x, speed: 2}\narrivals: users", "trace.speed: belongs to `arrivals: trace`"),
        ("trace: {file: x}\nkinds: [{name: a}, {name: b}]", "kinds: 2 kinds: a trace is replayed by a single one"),
        ("trace: {file: x}\nkinds: [{name: a, turns: 2}]", "kinds: a.turns: has no effect"),
        ("trace: {file: x}\nkinds: [{name: a, think_time: 2}]", "kinds: a.think_time: has no effect"),
    ],
)
def test_wrong_keys_are_refused_in_one_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SettingsError) as error:
        workload(tmp_path, text)
    assert why in str(error.value)
    assert str(tmp_path / "mine.yaml") in str(error.value)


def test_each_speed_is_a_level_of_its_mean_rate(tmp_path: Path) -> None:
    loaded = workload(tmp_path, "trace: {file: trace.jsonl, speed: [1, 1.5]}")
    plan = plan_of(OPTIONS, loaded)
    assert isinstance(plan, SeriesPlan)
    assert [(step.rate.per_second, step.seconds) for step in plan.steps] == [(2, 20), (3, pytest.approx(20 / 1.5))]
    part = plan_of(OPTIONS, workload(tmp_path, "trace: {file: trace.jsonl, start: 5s, end: 18s}"))
    assert isinstance(part, SeriesPlan)
    assert [(step.rate.per_second, step.seconds) for step in part.steps] == [(2, 13)]
    fits = plan_of(OPTIONS, workload(tmp_path, "trace: {file: trace.jsonl}"), context=3005)
    assert isinstance(fits, SeriesPlan)
    assert fits.steps[0].seconds == 15, "30 requests are short enough"


def refused(folder: Path, text: str, options: Options = OPTIONS, context: int | None = None, **trace: int) -> str:
    with pytest.raises(SettingsError) as error:
        plan_of(options, workload(folder, text, **trace), context)
    return str(error.value)


def test_what_cannot_be_replayed_is_refused_before_the_run(tmp_path: Path) -> None:
    trace = "trace: {file: trace.jsonl}"
    file = tmp_path / "trace.jsonl"
    assert "must be 0.001" in refused(tmp_path, trace, requests=2, every_ms=3_600_000)
    assert f"{file}: has a single request" in refused(tmp_path, trace, requests=1)
    assert f"{file}: has 40 requests at the same moment" in refused(tmp_path, trace, every_ms=0)
    assert f"{file}: none of its 40 requests fits the context of 50 tokens" in refused(tmp_path, trace, context=50)
    assert "has no request from 100 s to its end" in refused(tmp_path, "trace: {file: trace.jsonl, start: 100}")
    assert "trace.speed: 4: the trace then lasts 5.0 s" in refused(tmp_path, "trace: {file: trace.jsonl, speed: 4}")
    assert "trace.file" in refused(tmp_path, "trace: {file: none.jsonl}")
    for options, flag in (
        ({"rate": "2"}, "--rate"),
        ({"levels": "1,2"}, "--levels 1,2"),
        ({"search": True}, "--search"),
    ):
        given = Options(**{key: (1, 2) if key == "levels" else value for key, value in options.items()})  # type: ignore[arg-type]
        assert refused(tmp_path, trace, given).startswith(flag)


def test_users_who_take_sessions_in_turn_have_levels_of_users(tmp_path: Path) -> None:
    loaded = workload(tmp_path, "trace: {file: trace.jsonl}\narrivals: users")
    plan = plan_of(Options(levels=(1, 2)), loaded)
    assert plan is not None
    assert plan.levels == (1, 2)


def test_options_that_a_trace_leaves_no_room_for_are_refused(tmp_path: Path) -> None:
    loaded = workload(tmp_path, "trace: {file: trace.jsonl}")
    for options in (Options(input_tokens=77), Options(max_tokens=7)):
        with pytest.raises(SettingsError, match="has no effect"):
            check_unused_options(loaded, options)
