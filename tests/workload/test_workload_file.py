"""The shipped workloads, and the errors for invalid ones: one line with file, key, value, and what is valid."""

import json
import os
import re
from pathlib import Path

import pytest

from probe_ext.settings.errors import SettingsError
from probe_ext.settings.slo import load_profile
from probe_ext.workload.distribution_forms import Constant, Empirical, Exponential, Lognormal, Uniform
from probe_ext.workload.workload_file import Workload, parse_workload, read_workload, workload_names

ROOT = Path(__file__).parents[2]
SHIPPED = ["batch-beside-chat", "chat", "coding", "coding-agents", "rag"]
FULL = """
name: team
question: How many?
kinds:
  - name: chat
    share: 3
    slo: chat
    system_prompt: {tokens: 300}
    prompts: {tokens: {lognormal: {mean: 80, sd: 60, max: 1000}}}
    shared_prefix_tokens: 10
    turns: {uniform: [2, 6]}
    think_time: {exponential: {mean: 30s}}
    output_tokens: {lognormal: {median: 200, p95: 600}}
    stream: 0.5
    api: messages
    model: {zipf: {names: [a, b], s: 1}}
    body: {tools: [{type: function}]}
  - {name: review, share: 1, think_time: 2m, model: c}
  - {name: batch, users: 4, slo: batch, stream: 0}
"""


def workload(text: str, tmp_path: Path) -> Workload:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return read_workload(str(path))


def of_kind(text: str, tmp_path: Path) -> Workload:
    """Return a workload with one kind of these keys."""
    return workload(f"kinds:\n  - {{name: chat, {text}}}\n", tmp_path)


def test_shipped_workloads_load_and_say_what_they_answer() -> None:
    assert workload_names() == SHIPPED
    for name in SHIPPED:
        loaded = read_workload(name)
        assert loaded.name == name
        assert loaded.question.endswith("?")
        assert all(kind.slo for kind in loaded.kinds)


def test_every_key_is_read(tmp_path: Path) -> None:
    loaded = workload(FULL, tmp_path)
    chat, review, batch = loaded.kinds
    assert loaded.shares == {"chat": 0.75, "review": 0.25, "batch": None}
    assert loaded.fixed_users == batch.users == 4
    assert chat.slo == load_profile("chat", ROOT / "configs" / "slo")
    assert (chat.turns, chat.think_time) == (Uniform(2, 6), Exponential(30))
    assert chat.prompts is not None
    assert chat.prompts.tokens == Lognormal(mean=80, sd=60, max=1000)
    assert chat.output_tokens == Lognormal(median=200, p95=600)
    assert chat.model is not None
    assert chat.model.names == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 3)}
    assert (review.think_time, review.turns, review.slo, review.prompts) == (Constant(120), Constant(1), None, None)
    assert review.model is not None
    assert review.model.names == {"c": 1}
    assert (chat.stream, batch.stream, chat.api, chat.shared_prefix_tokens) == (0.5, 0, "messages", 10)


def test_what_workers_get_is_the_same_workload(tmp_path: Path) -> None:
    loaded = workload(FULL, tmp_path)
    sent = json.loads(json.dumps(loaded.to_message()))
    assert Workload.of_message(sent) == loaded
    assert Workload.of_message(sent).kinds[0].slo == loaded.kinds[0].slo


def test_manifest_has_profiles_shares_and_means_but_no_prompts(tmp_path: Path) -> None:
    text = FULL.replace("{tokens: 300}", "{text: Keep this to yourself.}")
    about = json.loads(json.dumps(workload(text, tmp_path).to_manifest("mine.yaml", {"name": "of the run"})))
    chat, review, batch = about["kinds"]
    assert (chat["share"], chat["users"], batch["share"], batch["users"]) == (0.75, None, None, 4)
    assert (chat["slo"]["first_word"]["served"], review["slo"], batch["slo"]["name"]) == (
        1.0,
        {"name": "of the run"},
        "batch",
    )
    assert chat["think_time"] == {"form": "exponential", "exponential": {"mean": 30}, "mean": 30}
    assert (review["think_time"]["mean"], batch["think_time"]["mean"], chat["turns"]["mean"]) == (120, 0, 4)
    assert about["arrivals"] == {"form": "users"}
    assert "yourself" not in json.dumps(about)
    assert chat["system_prompt"]["characters"] == 22


def test_names_of_files_are_relative_to_the_workload_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lengths.txt").write_text("# recorded\n10\n\n30\n20.0\n", encoding="utf-8")
    (tmp_path / "pauses.csv").write_text("who,seconds\nx,1.5\ny,2.5\n", encoding="utf-8")
    (tmp_path / "system.txt").write_text("Be brief.\n", encoding="utf-8")
    (tmp_path / "strict.yaml").write_text("first_word: {served: 0.1, strained: 1}\n", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = of_kind(
        "prompts: {tokens: {empirical: lengths.txt}}, think_time: {empirical: {file: pauses.csv, column: seconds}}, "
        "system_prompt: {file: system.txt}, slo: ./strict.yaml",
        tmp_path,
    )
    (kind,) = loaded.kinds
    assert kind.prompts is not None
    assert kind.prompts.tokens == Empirical((10, 20, 30))
    assert kind.think_time == Empirical((1.5, 2.5))
    assert kind.system_prompt is not None
    assert kind.system_prompt.text == "Be brief."
    assert kind.slo is not None
    assert kind.slo.name == "strict"
    assert of_kind("prompts: {file: mine.jsonl}", tmp_path).kinds[0].prompts.file == str(tmp_path / "mine.jsonl")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kind: []", "kind: unknown key (did you mean kinds?); valid keys: name, question, kinds, arrivals"),
        ("name: x", "kinds: is missing"),
        ("kinds: []", "kinds: 0 kinds: must be 1 to 16"),
        ("kinds: {a: 1}", "kinds: must be a list of kinds of user"),
        ("kinds: [5]", "kinds.1: 5: input should be a valid dictionary"),
        ("kinds: [{share: 1}]", "kinds.1.name: is missing"),
        ("kinds: [{name: a}, {name: a}]", "kinds: 'a': is the name of two kinds"),
        ("kinds: [{name: a}]\nname: ''", "name: '': string should have at least 1 character"),
        ("kinds: [{name: a}]\narrivals: sometimes", "arrivals.form: 'sometimes': input should be 'users'"),
        ("kinds: [{name: a}]\narrivals: {gamma: {}}", "arrivals.cv: belongs to gamma, which needs it"),
        ("kinds: [{name: a, agent: {tool: 5}}]", "kinds.a.agent.tool: unknown key (did you mean tool_time?)"),
        ("kinds: [{name: a, agent: {tool_time: slow}}]", "kinds.a.agent.tool_time: 'slow'"),
        ("kinds: [{name: a, agent: {compact: {at: 5000}}}]", "kinds.a.agent.compact.to: is missing"),
        (
            "kinds: [{name: a, agent: {compact: {at: 50, to: 50}}}]",
            "kinds.a.agent.compact.to: 50: must be fewer tokens",
        ),
        ("kinds: [{name: a, agent: {subagents: {share: 2}}}]", "kinds.a.agent.subagents.share: 2"),
        (
            "kinds: [{name: a, agent: {subagents: {share: 1, count: 65}}}]",
            "kinds.a.agent.subagents.count: 65: at most 64",
        ),
        ("kinds: [{name: a, api: completion, agent: {}}]", "kinds.a.api: completion: takes no agent"),
        ("kinds: [{name: a, agent: {}}]\narrivals: poisson", "arrivals: 'poisson': the kind a is an agent"),
        ("kinds: [{name: a}]\narrivals: 5", "arrivals: must be `users`, or one of"),
        ("- a", "must contain keys and values, not list"),
        ("", "must contain keys and values, not nothing"),
        ("kinds: [", "is not valid YAML"),
        ("kinds: &k [{name: a}]\nquestion: *k", "must contain keys and values, without aliases"),
        ("1: 2\nkinds: [{name: a}]", "1: 1: keys should be strings"),
        (f"kinds: {'[' * 3000}", "is not valid YAML"),
    ],
)
def test_wrong_files(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        workload(text, tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'mine.yaml'}: {reason}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "thinktime: 3",
            "thinktime: unknown key (did you mean think_time?); valid keys: name, host, share, users, slo",
        ),
        ("share: 0", "share: 0: input should be greater than or equal to 0.000000001"),
        ("share: .nan", "share: nan: input should be"),
        ("share: true", "share: True: input should be a valid number"),
        ("users: 0", "users: 0: input should be greater than or equal to 1"),
        ("users: 2.5", "users: 2.5: input should be a valid integer"),
        ("users: 2, share: 1", "users: cannot be given together with share"),
        ("stream: 2", "stream: 2: input should be less than or equal to 1"),
        ("stream: yes", "stream: True: input should be a valid number"),
        ("api: chats", "api: 'chats': input should be 'chat', 'completion'"),
        ("api: completion, turns: 2", "api: completion: takes no system_prompt and no turns"),
        ("slo: chatt", "slo: chatt: no such profile (did you mean chat?)"),
        ("slo: ./none.yaml", "slo: ./none.yaml: no such file"),
        ("slo: 5", "slo: 5: input should be an instance of SloProfile"),
        ("turns: 0.5x", "turns: '0.5x': is not a number"),
        ("turns: -1", "turns: -1: must be at least 0"),
        ("turns: 100000", "turns: half of the values are above 1,000"),
        ("think_time: 3 days", "think_time: '3 days': invalid duration"),
        ("think_time: .inf", "think_time: inf: must be a finite number"),
        ("think_time: true", "think_time: True: is not a number"),
        ("think_time: {gaussian: 5}", "think_time.gaussian: unknown distribution; valid: constant, uniform, normal"),
        ("think_time: {unifrom: [1, 2]}", "think_time.unifrom: unknown distribution (did you mean uniform?)"),
        ("think_time: {uniform: [1]}", "think_time.uniform: [1]: must be two numbers, [low, high]"),
        ("think_time: {uniform: [5s, 1s]}", "think_time.uniform.high: 1: must be at least 5"),
        ("think_time: {normal: {mean: 5}}", "think_time.normal.sd: is missing"),
        ("think_time: {normal: 5}", "think_time.normal: 5: must be parameters by name: mean, sd, min, max"),
        ("think_time: {normal: {mean: 5, std: 1}}", "think_time.normal.std: unknown key (did you mean sd?)"),
        ("think_time: {exponential: {mean: 0}}", "think_time.exponential.mean: 0: must be greater than 0"),
        ("think_time: {lognormal: {mean: 5}}", "think_time.lognormal.mean: must be mean and sd, or median and p95"),
        ("think_time: {normal: {mean: 5, sd: 1, min: 90}}", "think_time.normal.min 90 leaves nothing"),
        (
            "think_time: {uniform: [1, 2], normal: {}}",
            "think_time: {'normal': {}, 'uniform': [1, 2]}: must be a number or",
        ),
        ("think_time: [1, 2]", "think_time: [1, 2]: is not a number"),
        ("think_time: 1.0e+30", "think_time: 1e+30: must be a finite number"),
        ("think_time: {empirical: none.txt}", "think_time.empirical: "),
        ("think_time: {empirical: {values: []}}", "think_time.empirical.values: are missing"),
        ("think_time: {empirical: {values: [1, x]}}", "think_time.empirical.values: 'x': invalid duration"),
        ("think_time: {empirical: {files: x}}", "think_time.empirical: {'files': 'x'}: must be a file"),
        ("prompts: {}", "prompts: must have tokens, or file"),
        ("prompts: {token: 5}", "prompts.token: unknown key (did you mean tokens?); valid keys: tokens, file, field"),
        ("prompts: {tokens: 5, field: x}", "prompts.field: 'x': belongs to file, which is missing"),
        ("prompts: {tokens: 1.0e+12}", "prompts.tokens: 1000000000000.0: must be a finite number"),
        ("prompts: {tokens: 20s}", "prompts.tokens: '20s': is not a number"),
        ("prompts: 5", "prompts: 5: input should be a valid dictionary"),
        ("system_prompt: {}", "system_prompt: must have one of tokens, text and file"),
        ("system_prompt: {tokens: 5, text: x}", "system_prompt: must have one of tokens, text and file"),
        (
            "system_prompt: {txt: x}",
            "system_prompt.txt: unknown key (did you mean text?); valid keys: tokens, text, file",
        ),
        ("system_prompt: {file: none.txt}", "system_prompt.file: "),
        ("shared_prefix_tokens: -1", "shared_prefix_tokens: -1: input should be greater than or equal to 0"),
        ("output_tokens: {normal: {mean: 1, sd: -2}}", "output_tokens.normal.sd: -2: must be at least 0"),
        ("model: {zipf: {names: [a, a]}}", "model.zipf.names: must be a list of different names"),
        ("model: {zipf: {names: [a], s: x}}", "model.zipf.s: 'x': must be a number from 0 to 100"),
        ("model: {names: {a: 0}}", "model.names.a: 0: must be a share greater than 0"),
        ("model: {names: {}}", "model.names: must name a model"),
        ("model: 5", "model: must be a name, {names: {NAME: SHARE, …}}"),
        ("body: {max_tokens: 5}", "body.max_tokens: is set by `output_tokens`, not by body"),
        ("body: {x: .nan}", "body: cannot be sent as JSON"),
        ("body: {x: 2026-01-01}", "body: cannot be sent as JSON"),
        ("body: {api_key: geheim}", "body.api_key: carries a secret"),
        ("body: [1]", "body: [1]: input should be a valid dictionary"),
    ],
)
def test_wrong_kinds(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        of_kind(text, tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'mine.yaml'}: kinds.chat.{reason}")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize("name", ["", "x" * 41, "a/b", "-a", "ü", "a\tb", "cold", "warm-up"])
def test_names_of_kinds_are_plain_and_not_reserved(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"kinds\..*name: "):
        workload(f"kinds: [{{name: {json.dumps(name)}}}]", tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"1\nx\n", "line 2: 'x' is not a number of 0 or more"),
        (b"1\n-5\n", "line 2: '-5' is not a number of 0 or more"),
        (b"nan\n", "line 1: 'nan' is not a number of 0 or more"),
        (b"1,2\n", "line 1: has 2 columns; name one as column"),
        (b"\xff\xfe1\n", "is not UTF-8 text (byte 1)"),
        (b"\n\n", "values: are missing"),
        (b'"1\n', "line 1: unexpected end of data"),
    ],
)
def test_damaged_files_of_values(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "lengths.txt").write_bytes(content)
    with pytest.raises(SettingsError) as error:
        of_kind("prompts: {tokens: {empirical: lengths.txt}}", tmp_path)
    place = f"kinds.chat.prompts.tokens.empirical: {tmp_path / 'lengths.txt'}: {reason}"
    assert str(error.value) == f"{tmp_path / 'mine.yaml'}: {place}"


def test_a_column_that_is_missing_is_named_with_those_that_exist(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("in,out\n5,6\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"has no column 'input'; columns: in, out"):
        of_kind("prompts: {tokens: {empirical: {file: log.csv, column: input}}}", tmp_path)


def test_special_and_huge_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="is not a regular file"):
        of_kind("system_prompt: {file: pipe}", tmp_path)
    with pytest.raises(SettingsError, match="is not a regular file"):
        of_kind("prompts: {tokens: {empirical: .}}", tmp_path)
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(SettingsError, match="is larger than 16,777,216 bytes"):
        of_kind("prompts: {tokens: {empirical: huge.txt}}", tmp_path)
    with pytest.raises(SettingsError, match="is larger than 256 KiB"):
        workload(f"question: {'x' * 300_000}", tmp_path)


def test_unknown_names_and_missing_files() -> None:
    with pytest.raises(SettingsError) as error:
        read_workload("codign")
    assert str(error.value) == (
        f"--workload codign: no such workload (did you mean coding?); available: {', '.join(SHIPPED)}"
    )
    with pytest.raises(
        SettingsError, match="no such workload; gauntlet is a scenario: probe run gauntlet; available: "
    ):
        read_workload("gauntlet")
    for path in ("none.yaml", "./none", "../configs/workloads/../chat"):
        with pytest.raises(SettingsError, match="no such file"):
            read_workload(path)


def test_values_of_a_locustfile_are_checked_alike() -> None:
    with pytest.raises(SettingsError) as error:
        parse_workload({"kinds": [{"name": "chat", "turns": "many"}]}, "Team.workload", Path())
    assert str(error.value) == "Team.workload: kinds.chat.turns: 'many': is not a number"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("think_time: {lognormal: {median: 1.0e-20, p95: 1.0e+9}}", "think_time.lognormal.median"),
        ("think_time: {normal: {mean: 0, sd: 1.0e-320}}", "think_time.normal.sd"),
        ("think_time: {lognormal: {mean: 1.0e-200, sd: 1}}", "think_time.lognormal.mean"),
        (f"think_time: 1{'0' * 400}", "think_time"),
        ("model: {names: {x: 1.0e+308, y: 1.0e+308}}", "model.names.x"),
        ("share: 1.0e+308", "share"),
        ("share: 1.0e-320", "share"),
        ("share: .nan", "share"),
    ],
)
def test_numbers_too_large_or_small_to_calculate_with_are_refused(text: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        of_kind(text, tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'mine.yaml'}: kinds.chat.{key}: ")
    assert re.search(r"1e[+-]09|1000000000|0.000000001|finite", str(error.value)), "refused for another reason"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scale", ["rate_scale", "time_scale"])
def test_scales_of_a_series_are_bounded(scale: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"arrivals.{scale}: 1e-320"):
        workload(f"kinds: [{{name: a}}]\narrivals: {{series: {{file: x.csv, {scale}: 1.0e-320}}}}", tmp_path)
