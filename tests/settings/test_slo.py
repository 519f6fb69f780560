"""The shipped SLO profiles, and the errors for invalid ones."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from probe_ext.settings.errors import SettingsError
from probe_ext.settings.slo import SloProfile, load_profile, profile_names, profile_of_run

SHIPPED = Path(__file__).parents[2] / "configs" / "slo"


def test_shipped_profiles_load() -> None:
    assert profile_names(SHIPPED) == ["agent", "batch", "chat", "coding-assistant"]
    for name in profile_names(SHIPPED):
        assert load_profile(name, SHIPPED).name == name


def test_chat_thresholds() -> None:
    chat = load_profile("chat", SHIPPED)
    assert chat.first_word is not None
    assert chat.typing is not None
    assert chat.silence is not None
    assert (chat.first_word.served, chat.first_word.strained, chat.first_word_from) == (1.0, 10.0, "due")
    assert (chat.typing.served, chat.typing.strained, chat.typing.min_tokens) == (10, 5, 8)
    assert (chat.silence.served, chat.silence.strained) == (2.0, 10.0)
    assert (chat.users.served_share, chat.users.broken_share) == (0.90, 0.01)
    assert (chat.level.served_share, chat.reasoning) == (0.95, "shown")


def test_missing_dimensions_are_not_judged() -> None:
    batch = load_profile("batch", SHIPPED)
    assert (batch.first_word, batch.typing, batch.silence) == (None, None, None)
    assert batch.whole_answer is not None
    assert batch.users == load_profile("chat", SHIPPED).users


def test_profile_of_an_older_run_is_read_without_its_obsolete_keys() -> None:
    users = {"served_share": 0.8, "broken_share": 0.02, "broken_share_from": 50, "decided_from": 5}
    profile = profile_of_run({"name": "old", "users": users})
    assert (profile.users.served_share, profile.users.broken_share) == (0.8, 0.02)
    assert profile_of_run(profile.model_dump(mode="json")) == profile
    with pytest.raises(ValueError, match=r"^users\.decided: unknown key; valid keys: [a-z_, ]+$"):
        profile_of_run({"name": "old", "users": {"decided": 5}})
    with pytest.raises(ValidationError):
        SloProfile.model_validate({"name": "old", "users": users})


def test_profiles_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_profile("chat", SHIPPED).reasoning = "hidden"  # type: ignore[misc]


def test_loads_a_profile_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("first_word: {served: 2, strained: 4}\nreasoning: hidden\n", encoding="utf-8")
    profile = load_profile(str(path), SHIPPED)
    assert (profile.name, profile.reasoning, profile.typing) == ("mine", "hidden", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("first_wrod: {served: 1, strained: 2}", "first_wrod: unknown key (did you mean first_word?)"),
        ("typing: {served: 9, strained: 5, mintokens: 3}", "typing.mintokens: unknown key (did you mean min_tokens?)"),
        ("users: {served: 9}", "users.served: unknown key (did you mean served_share?)"),
        ("users: {decided_from: 10}", "users.decided_from: obsolete key without effect, remove it"),
        ("users: {broken_share_from: 100}", "users.broken_share_from: obsolete key without effect, remove it"),
        ("level: {decided_from: 10}", "level.decided_from: unknown key"),
        ("ttft: 1", "ttft: unknown key; valid keys: name, description, first_word, first_word_from, typing, silence, "),
        ("whole_answer: {served: 5, strained: 9, served_rate: 2}", "whole_answer.served_rate: must be given together"),
        (
            "whole_answer: {served: 5, strained: 9, served_rate: 2, strained_rate: 3}",
            "whole_answer.strained_rate: 3: must be at most served_rate (2)",
        ),
        ("silence: {most: 2}", "silence.most: unknown key; valid keys: served, strained"),
        ("first_word: {served: 5, strained: 1}", "first_word.strained: 1: must be at least served (5)"),
        ("typing: {served: 5, strained: 6}", "typing.strained: 6: must be at most served (5)"),
        ("typing: {served: fast, strained: 1}", "typing.served: 'fast': input should be a valid number"),
        ("silence: {served: -2, strained: 1}", "silence.served: -2: input should be greater than 0"),
        ("silence: {served: true, strained: 1}", "silence.served: True: input should be a valid number"),
        ("typing: {served: .inf, strained: 1}", "typing.served: inf: input should be a finite number"),
        ("first_word: {served: 1}", "first_word.strained: is missing"),
        ("level: {served_share: 95}", "level.served_share: 95: input should be less than or equal to 1"),
        ("reasoning: maybe", "reasoning: 'maybe': input should be 'shown' or 'hidden'"),
        ("first_word: 1", "first_word: 1: input should be a valid dictionary or instance of FirstWord"),
        ("", "must contain keys and values, not nothing"),
        ("- 1", "must contain keys and values, not list"),
        ("a: [", "is not valid YAML: while parsing"),
        ("a: \x00", "is not valid YAML"),
    ],
)
def test_errors_are_one_line_with_file_key_and_value(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_profile(str(path), SHIPPED)
    message = str(caught.value)
    assert message.startswith(f"{path}: {reason}")
    assert "\n" not in message


def test_missing_profile(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^--slo caht: no such profile \(did you mean chat\?\); available: agent, batch,"
    ):
        load_profile("caht", SHIPPED)
    for misspelt in ("codin", "codng", "asistant"):
        with pytest.raises(SettingsError, match=r"no such profile \(did you mean coding-assistant\?\)"):
            load_profile(misspelt, SHIPPED)
    with pytest.raises(SettingsError, match="xyz: no such profile; available"):
        load_profile("xyz", SHIPPED)
    with pytest.raises(SettingsError, match=r"no such profile; coding is a workload: --workload coding; available: "):
        load_profile("coding", SHIPPED)
    with pytest.raises(SettingsError, match=r"gone\.yaml: no such file"):
        load_profile(str(tmp_path / "gone.yaml"), SHIPPED)
    with pytest.raises(SettingsError, match="no such file"):
        load_profile(str(tmp_path) + "/", SHIPPED)


def test_unreadable_profile(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_profile(str(path), SHIPPED)


def test_a_misspelt_key_is_reported_before_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("first_word: {servd: 1, strained: 10}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"first_word\.servd: unknown key.*served"):
        load_profile(str(path), tmp_path)


ALIASES = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]\n" for old, new in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 30_000, "a: {" * 10_000, "a: " + "9" * 5000, "a: 2020-13-45", "? [1]\n: 2", "&a [*a]", "&a {name: *a}"),
        *(ALIASES + "name: *i\n", "<<: 5", "!foo bar", "!!python/object/apply:os.system [exit]", "\x00", "#" * 70_000),
        *('"\\e[31m\\u202e": 1', "name: [1]\n" + "x: 1\n" * 1000, "--- 1\n--- 2\n"),
    ],
)
def test_hostile_files_are_one_plain_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_profile(str(path), tmp_path)
    said = str(caught.value)
    assert str(path) in said
    assert said.isprintable()
    assert len(said) < 1000


def test_a_hole_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(SettingsError, match="is larger than 64 KiB"):
        load_profile(str(path), tmp_path)


def test_names_are_printable(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text('name: "\\e[31m\\u202ered"\n')
    assert load_profile(str(path), tmp_path).name == " [31m red"
