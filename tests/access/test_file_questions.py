"""Users whose prompts come from a file: turns, reply lengths and the context, and the checks before the run."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.access.file_prompts.file_questions import FileQuestions, LostFile
from probe_ext.access.file_prompts.prompt_files import PromptFiles
from probe_ext.access.kind_prompts import KindConversation, KindPrompts
from probe_ext.prompts.files.source import PromptFileError
from probe_ext.settings.options import Options
from probe_ext.workload.user_kind import UserKind

PREPARED: dict[str, Any] = {"kind": "chat", "field": None, "left_out": [], "room": 100, "tokens_per_byte": 0.25}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "p.json"
    turns = [{"from": "human", "value": f"question {n} " + "x" * 90} for n in range(3)]
    path.write_text(json.dumps([{"conversations": turns}, {"prompt": "single", "tools": [{"type": "function"}]}]))
    return path


def named(path: Path) -> dict[str, str]:
    return {"path": str(path), "sha256": PromptFiles().open(str(path)).digest}


def maker(path: Path, context: int | None = None, prepared: dict[str, Any] = PREPARED, **keys: Any) -> KindPrompts:
    entry = {**prepared, **named(path)}
    queue = PromptFiles().queue([entry], "chat", 7, 0, 1)
    assert queue is not None
    kind = UserKind(name="chat", prompts={"file": str(path)}, **keys)
    return KindPrompts(kind, 0, {}, Options(), context, FileQuestions(*queue, context))


def play(conversation: KindConversation, tokens_in: int | None = None) -> list[Any]:
    asked = []
    while (ask := conversation.ask()) is not None:
        asked.append(ask)
        conversation.answered(SimpleNamespace(text="answer", tokens_in=tokens_in, tokens_out=50))
    return asked


def last(ask: Any) -> str:
    return str(ask.prompt.messages[-1]["content"])[:10]


def test_turns_follow_the_recording_and_then_the_next_prompts(path: Path) -> None:
    user = maker(path, turns=5, system_prompt={"text": "Be brief."}, output_tokens=30, body={"seed": 1}).user(0)
    asked = play(user.begin())
    assert len(asked) == 5
    questions = [last(ask) for ask in asked]
    start = questions.index("question 0")
    assert questions[start : start + 3] == ["question 0", "question 1", "question 2"]
    assert "single" in questions
    assert asked[0].prompt.messages[0] == {"role": "system", "content": "Be brief."}
    assert all(ask.parameters == {"seed": 1, "max_tokens": 30} for ask in asked)
    assert {ask.prompt.asked_tokens for ask in asked} == {None}
    assert asked[4].prompt.fields == {"tools": [{"type": "function"}]}


def test_a_reply_has_no_more_tokens_than_were_kept_free(path: Path) -> None:
    (ask,) = play(maker(path, context=1000, output_tokens=700).user(0).begin())
    assert ask.parameters["max_tokens"] == 100
    unknown = {**PREPARED, "room": None, "tokens_per_byte": None}
    (ask,) = play(maker(path, context=None, prepared=unknown, output_tokens=700).user(0).begin())
    assert ask.parameters["max_tokens"] == 700


def test_a_conversation_ends_before_the_context_is_full(path: Path) -> None:
    user = maker(path, context=1000, turns=4, output_tokens=100).user(0)
    assert len(play(user.begin(), tokens_in=500)) == 4
    assert len(play(user.begin(), tokens_in=900)) == 1


def test_a_prompt_without_room_begins_the_next_conversation(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("\n".join(f"prompt {n:03}" + "x" * (1000 if n % 2 else 10) for n in range(20)))
    user = maker(path, context=800, turns=3, output_tokens=100).user(0)
    conversations = []
    while sum(map(len, conversations)) < 20:
        conversations.append([last(ask) for ask in play(user.begin(), tokens_in=450)])
    sent = [prompt for conversation in conversations for prompt in conversation]
    assert len({*sent[:20]}) == 20, "none is lost, and none is sent twice before all were sent"
    assert any(len(conversation) < 3 for conversation in conversations)


def test_a_later_turn_without_room_is_not_given_to_others(path: Path) -> None:
    path.write_text(json.dumps([{"conversations": [{"from": "human", "value": f"question {n}"} for n in range(3)]}]))
    user = maker(path, context=1000, turns=4).user(0)
    assert [last(ask) for _ in range(3) for ask in play(user.begin(), tokens_in=950)] == ["question 0"] * 3


def test_kinds_with_the_same_file_share_its_prompts(path: Path) -> None:
    entries = [{**PREPARED, **named(path), "kind": kind, "left_out": [0]} for kind in ("a", "b")]
    files = PromptFiles()
    a, b = files.queue(entries, "a", 7, 0, 1), files.queue(entries, "b", 7, 0, 1)
    assert a is not None
    assert b is not None
    assert a[0] is b[0]
    assert len(b[0]) == 1
    assert files.queue(entries, "c", 7, 0, 1) is None
    files.forget_queues()
    again = files.queue(entries, "a", 7, 0, 1)
    assert again is not None
    assert again[0] is not a[0]


def test_a_file_that_changes_raises(path: Path) -> None:
    conversation = maker(path).user(0).begin()
    path.write_text("[]")
    with pytest.raises(PromptFileError, match="has changed"):
        conversation.ask()


def test_a_file_that_changed_before_the_run_began_raises(path: Path) -> None:
    entry = {**PREPARED, **named(path)}
    path.write_text('["other"]')
    with pytest.raises(PromptFileError, match="has changed") as error:
        PromptFiles().queue([entry], "chat", 7, 0, 1)
    kind = UserKind(name="chat", prompts={"file": str(path)})  # type: ignore[arg-type]
    user = KindPrompts(kind, 0, {}, Options(), None, LostFile(error.value)).user(0)
    with pytest.raises(PromptFileError, match="has changed"):
        user.begin()
