"""A workload made from a recording: kinds, lengths without the template, honest fits, and files that a run accepts."""

import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from probe_ext import cli
from probe_ext.exit_codes import ExitCode
from probe_ext.recording.recorded_request import SCHEMA, RecordedRequest, RecordingHead
from probe_ext.recording.recording_files import REQUESTS_FILE, JsonLines, as_line, write_head
from probe_ext.tap.derived.derived_workload import derive
from probe_ext.tap.derived.distribution_fits import distance_between, fit
from probe_ext.tap.derived.text_lengths import text_lengths
from probe_ext.tap.derived.workload_writer import remarks, write_workload
from probe_ext.workload.distribution_forms import Constant, Empirical, Exponential, Lognormal, Normal, Uniform
from probe_ext.workload.workload_file import Workload, read_workload

RNG = Random(1)


def line(number: int, **values: Any) -> RecordedRequest:
    given = {
        "at": float(number), "duration": 1.0, "endpoint": "chat", "outcome": "complete", "model": "m", "stream": True,
        "session": f"s{number}", "turn": 0, "messages": 1, "characters": 400, "prompt": f"p{number}",
        "input_tokens": 108, "output_tokens": 30, "output_characters": 120,
    }  # fmt: skip
    return RecordedRequest(number=number, **{**given, **values})


def made(lines: list[RecordedRequest], folder: Path) -> tuple[Workload, dict[str, Any]]:
    """Return the workload of some requests as a run reads it, and as it is written."""
    derived = derive(lines)
    assert derived is not None
    write_workload(folder / "made.yaml", derived, "How many?")
    return read_workload(str(folder / "made.yaml")), yaml.safe_load((folder / "made.yaml").read_text())


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([7.0] * 50, Constant),
        ([RNG.uniform(100, 300) for _ in range(500)], Uniform),
        ([RNG.gauss(500, 40) for _ in range(500)], Normal),
        ([RNG.lognormvariate(4, 1) for _ in range(500)], Lognormal),
        ([RNG.expovariate(0.1) for _ in range(500)], Exponential),
        ([RNG.choice((10.0, 1000.0)) for _ in range(500)], Empirical),
        ([RNG.uniform(100, 300) for _ in range(10)], Empirical),
    ],
)
def test_the_simplest_form_that_fits_is_taken(values: list[float], form: type) -> None:
    found = fit(values, counts=False)
    assert type(found.distribution) is form
    assert found.distance <= 0.1


def test_the_distance_is_the_largest_difference_of_cumulative_shares() -> None:
    assert distance_between([1, 2, 3, 4], [1, 2, 3, 4]) == 0
    assert distance_between([1, 2, 3, 4], [3, 4, 5, 6]) == 0.5
    assert distance_between([1, 2], [3, 4]) == 1


def test_tokens_of_text_are_told_from_those_of_the_template() -> None:
    """Of a tokenizer with 5 characters a token, and a template of 11 tokens."""
    lines = [line(n, characters=406 + 50 * n, input_tokens=80 + 10 * n + 11) for n in range(40)]
    assert text_lengths(lines).per_character == pytest.approx(0.2, rel=0.01)


def test_without_token_counts_characters_are_taken_and_that_is_said() -> None:
    derived = derive([line(n, input_tokens=None, output_tokens=None) for n in range(30)])
    assert derived is not None
    assert not derived.kinds[0].lengths.measured
    said = "\n".join(remarks(derived))
    assert "counted no prompt tokens" in said
    assert "counted no reply tokens" in said


def test_kinds_are_told_by_api_model_and_system_prompt(tmp_path: Path) -> None:
    lines = [line(n) for n in range(30)]
    lines += [line(n, model="other") for n in range(30, 50)]
    lines += [line(n, endpoint="completion") for n in range(50, 60)]
    lines += [line(n, system="a", system_characters=200, messages=2) for n in range(60, 80)]
    lines += [line(n, system=f"own{n}", system_characters=200, messages=2) for n in range(80, 83)]
    workload, written = made(lines, tmp_path)
    assert [(kind.name, kind.api) for kind in workload.kinds] == [
        ("chat-1", "chat"), ("chat-2", "chat"), ("chat-3", "chat"), ("completion-1", "completion"),
    ]  # fmt: skip
    assert [kind.get("model") for kind in written["kinds"]] == ["m", "other", "m", "m"]
    assert [kind.system_prompt is not None for kind in workload.kinds] == [False, False, True, False]
    assert sum(kind.share or 0 for kind in workload.kinds) == pytest.approx(1, abs=0.01)


def test_rare_kinds_are_put_together_and_no_workload_has_too_many(tmp_path: Path) -> None:
    lines = [line(n, model=f"model {n % 60}") for n in range(600)]
    workload, written = made(lines, tmp_path)
    assert len(workload.kinds) == 1
    assert len(written["kinds"][0]["model"]["names"]) == 60
    many = [line(n, model=f"model {n % 25}") for n in range(600)]
    derived = derive(many)
    assert derived is not None
    assert len(derived.kinds) == 16
    assert derived.left_out.too_rare == 9 * 24
    assert any("216 requests of rare kinds" in each for each in remarks(derived))


def session(number: int, turns: int, pause: float) -> list[RecordedRequest]:
    """A conversation with questions of 100 characters and answers of 120."""
    return [
        line(
            100 * number + turn, session=f"s{number}", turn=turn, at=number + turn * (1 + pause), messages=1 + 2 * turn,
            characters=106 + turn * (106 + 131), input_tokens=25 + 11 + turn * (25 + 30 + 8),
        )
        for turn in range(turns)
    ]  # fmt: skip


def test_turns_pauses_and_each_question_are_recovered(tmp_path: Path) -> None:
    lines = [each for n in range(40) for each in session(n, 1 + n % 3, 4.0)]
    workload, _ = made(lines, tmp_path)
    (kind,) = workload.kinds
    assert kind.turns.average_count == pytest.approx(2, abs=0.1)
    assert kind.think_time.average == pytest.approx(4.0)
    assert kind.prompts is not None
    assert kind.prompts.tokens is not None
    assert kind.prompts.tokens.average == pytest.approx(25, abs=3)
    assert kind.output_tokens is not None
    assert kind.output_tokens.average == 30


def test_users_who_pause_for_long_get_the_larger_share(tmp_path: Path) -> None:
    """Both kinds send as many requests; one of them waits 9 s between two."""
    slow = [each for n in range(20) for each in session(n, 2, 9.0)]
    fast = [line(5000 + n, endpoint="completion", duration=1.0) for n in range(40)]
    workload, _ = made([*slow, *fast], tmp_path)
    shares = {kind.api: kind.share for kind in workload.kinds}
    assert shares["chat"] == pytest.approx(10 / 11, rel=0.01)


def test_text_that_all_sessions_begin_with_is_a_shared_prefix(tmp_path: Path) -> None:
    lines = [
        line(n, characters=1400 + 10 * n, input_tokens=350 + math.floor(2.5 * n) + 8,
             prefix_blocks=("a", "b", "c", "d", f"own{n}"))
        for n in range(40)
    ]  # fmt: skip
    workload, _ = made(lines, tmp_path)
    (kind,) = workload.kinds
    assert kind.shared_prefix_tokens == pytest.approx(256, rel=0.05)
    assert kind.prompts is not None
    assert kind.prompts.tokens is not None
    assert kind.prompts.tokens.quantile(0) == pytest.approx(94, abs=8)


def test_failed_requests_are_left_out_and_counted() -> None:
    derived = derive([*(line(n) for n in range(20)), *(line(n, outcome="cut") for n in range(20, 25))])
    assert derived is not None
    assert derived.left_out.failed == 5
    assert "5 requests without an answer left out." in remarks(derived)
    assert derive([line(0, outcome="cut")]) is None


def test_single_requests_have_no_think_time_and_that_is_said(tmp_path: Path) -> None:
    lines = [line(n) for n in range(40)]
    derived = derive(lines)
    assert derived is not None
    assert any("no think time is known" in each for each in remarks(derived))
    assert "think_time" not in made(lines, tmp_path)[1]["kinds"][0]


def test_the_command_writes_a_workload_and_says_how_well_it_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rec"
    folder.mkdir()
    write_head(folder, RecordingHead(schema=SCHEMA, upstream="http://x", started_at="2026-01-31T12:00:00.000Z"))
    lines = JsonLines(folder / REQUESTS_FILE)
    for n in range(200):
        lines.write(as_line(line(n, characters=200 + 17 * (n % 50), input_tokens=60 + 4 * (n % 50))))
    lines.close()
    with (folder / REQUESTS_FILE).open("a") as file:
        file.write('{"number": 200, "at"')  # as a full disk leaves it
    target = tmp_path / "team.yaml"
    assert cli.main(["tap", str(folder), "--to", str(target)]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "KS distance" in printed
    assert "Left out: 1 incomplete line of the recording." in printed
    assert f"probe run --workload {target}" in printed
    assert read_workload(str(target)).question == "How many of the users recorded on 2026-01-31 can use this?"
    assert cli.main(["tap", str(folder), "--to", str(target)]) == ExitCode.USAGE
    assert f"--to {target}: exists already" in capsys.readouterr().err
    assert cli.main(["tap", "--to", str(target), "--upstream", "http://x"]) == ExitCode.USAGE
    assert cli.main(["tap", str(folder), "--to", str(tmp_path / "no" / "x.yaml")]) == ExitCode.USAGE
