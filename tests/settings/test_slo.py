"""Profiles: those that are shipped, and what a wrong one gets."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from probe_ext.settings.errors import SettingsError
from probe_ext.settings.slo import load_profile, profile_names

SHIPPED = Path(__file__).parents[2] / "configs" / "slo"


def test_what_is_shipped() -> None:
    assert profile_names(SHIPPED) == ["batch", "chat", "coding-assistant"]
    for name in profile_names(SHIPPED):
        assert load_profile(name, SHIPPED).name == name


def test_the_chat_profile_is_the_definition() -> None:
    chat = load_profile("chat", SHIPPED)
    assert chat.first_word is not None
    assert chat.typing is not None
    assert chat.silence is not None
    assert (chat.first_word.served, chat.first_word.strained, chat.first_word_from) == (1.0, 10.0, "due")
    assert (chat.typing.served, chat.typing.strained, chat.typing.min_tokens) == (10, 5, 8)
    assert (chat.silence.served, chat.silence.strained) == (2.0, 10.0)
    assert (chat.users.served_share, chat.users.broken_share) == (0.90, 0.01)
    assert (chat.users.broken_share_from, chat.users.decided_from) == (100, 10)
    assert (chat.level.served_share, chat.level.min_replies, chat.reasoning) == (0.95, 3, "shown")


def test_what_is_left_out_is_not_judged() -> None:
    batch = load_profile("batch", SHIPPED)
    assert (batch.first_word, batch.typing, batch.silence) == (None, None, None)
    assert batch.whole_answer is not None
    assert batch.users == load_profile("chat", SHIPPED).users


def test_a_profile_is_frozen() -> None:
    with pytest.raises(ValidationError):
        load_profile("chat", SHIPPED).reasoning = "hidden"  # type: ignore[misc]


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("first_word: {served: 2, strained: 4}\nreasoning: hidden\n", encoding="utf-8")
    mine = load_profile(str(path), SHIPPED)
    assert (mine.name, mine.reasoning, mine.typing) == ("mine", "hidden", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("first_wrod: {served: 1, strained: 2}", "first_wrod: unknown key (did you mean first_word?)"),
        ("typing: {served: 9, strained: 5, mintokens: 3}", "typing.mintokens: unknown key (did you mean min_tokens?)"),
        ("users: {served: 9}", "users.served: unknown key (did you mean served_share?)"),
        ("ttft: 1", "ttft: unknown key; there are: name, description, first_word, first_word_from, typing, silence, "),
        ("silence: {most: 2}", "silence.most: unknown key; there are: served, strained"),
        ("first_word: {served: 5, strained: 1}", "first_word.strained: 1: must not be below served (5)"),
        ("typing: {served: 5, strained: 6}", "typing.strained: 6: must not be above served (5)"),
        ("typing: {served: fast, strained: 1}", "typing.served: 'fast': input should be a valid number"),
        ("silence: {served: -2, strained: 1}", "silence.served: -2: input should be greater than 0"),
        ("silence: {served: true, strained: 1}", "silence.served: True: input should be a valid number"),
        ("typing: {served: .inf, strained: 1}", "typing.served: inf: input should be a finite number"),
        ("first_word: {served: 1}", "first_word.strained: is missing"),
        ("level: {served_share: 95}", "level.served_share: 95: input should be less than or equal to 1"),
        ("reasoning: maybe", "reasoning: 'maybe': input should be 'shown' or 'hidden'"),
        ("first_word: 1", "first_word: 1: input should be a valid dictionary or instance of FirstWord"),
        ("", "holds nothing, wanted keys and values"),
        ("- 1", "holds list, wanted keys and values"),
        ("a: [", "is no YAML: while parsing"),
        ("a: \x00", "is no YAML"),
    ],
)
def test_a_wrong_profile_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_profile(str(path), SHIPPED)
    message = str(caught.value)
    assert message.startswith(f"{path}: {said}")
    assert "\n" not in message


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--slo caht: no such profile \(did you mean chat\?\); there are: batch,"):
        load_profile("caht", SHIPPED)
    with pytest.raises(SettingsError, match=r"gone\.yaml: no such file"):
        load_profile(str(tmp_path / "gone.yaml"), SHIPPED)
    with pytest.raises(SettingsError, match="no such file"):
        load_profile(str(tmp_path) + "/", SHIPPED)


def test_a_profile_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_profile(str(path), SHIPPED)


def test_a_misspelt_key_is_named_before_the_one_that_it_leaves_missing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("first_word: {servd: 1, strained: 10}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"first_word\.servd: unknown key.*served"):
        load_profile(str(path), tmp_path)
