"""Conversations of a workload: stated lengths, one system prompt, a growing history, and an end before the context."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.access.kind_prompts import KindConversation, KindPrompts
from probe_ext.access.workload_lengths import check_unused_options, mean_lengths, misfits, sample_options
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.workload.user_kind import UserKind
from probe_ext.workload.workload_file import Workload

OPTIONS = Options()


def maker(context: int | None = None, place: int = 0, options: Options = OPTIONS, **keys: Any) -> KindPrompts:
    return KindPrompts(UserKind(name="chat", **keys), place, {}, options, context)


def play(conversation: KindConversation, answer: str = "word " * 50) -> list[Any]:
    """Ask until the conversation ends."""
    asked = []
    while (ask := conversation.ask()) is not None:
        asked.append(ask)
        conversation.answered(SimpleNamespace(text=answer, tokens_in=None, tokens_out=50))
        assert len(asked) < 100
    return asked


def test_what_agents_do_not_have_room_for_is_known_before_the_run() -> None:
    def found(context: int, **compact: int) -> tuple[str | None, list[str]]:
        agent = {"result_tokens": 500, **({"compact": {"summary_tokens": 100, **compact}} if compact else {})}
        keys = {"turns": 20, "prompts": {"tokens": 300}, "output_tokens": 100, "agent": agent}
        return misfits(Workload(name="w", kinds=[{"name": "a", **keys}]), OPTIONS, context, "m")

    assert found(8000, at=6000, to=2000) == (None, [])
    assert found(8000, at=9000, to=2000) == (
        None,
        ["a: contexts are compacted when they fill the 8,000 tokens, before 9,000"],
    )
    problem, _ = found(2500, at=2400, to=2000)
    assert problem is not None
    assert (
        "agent.compact.to: 2,000 tokens and the usual next 600 are more than the 2,500 tokens of m's context" in problem
    )
    assert found(8000)[1] == [
        "a: about 100% of the conversations fill the context, and end before all their turns (8,000 tokens)"
    ]


def contents(ask: Any, role: str) -> list[str]:
    return [message["content"] for message in ask.prompt.messages if message["role"] == role]


def test_history_grows_turn_by_turn_with_the_answers() -> None:
    asked = play(maker(turns=3, prompts={"tokens": 40}, system_prompt={"text": "Be brief."}).user(0).begin())
    assert [[m["role"] for m in ask.prompt.messages] for ask in asked] == [
        ["system", "user"],
        ["system", "user", "assistant", "user"],
        ["system", "user", "assistant", "user", "assistant", "user"],
    ]
    assert asked[2].prompt.messages[:2] == asked[0].prompt.messages
    assert contents(asked[2], "assistant") == ["word " * 50] * 2
    assert [ask.prompt.asked_tokens for ask in asked] == pytest.approx([43, 133, 223], abs=2)
    assert [ask.prompt.text for ask in asked] == [None] * 3


def test_no_two_questions_are_alike_but_system_prompt_and_prefix_are() -> None:
    kind = maker(turns=2, system_prompt={"tokens": 80}, shared_prefix_tokens=30, prompts={"tokens": 30})
    users = [kind.user(number) for number in range(10)]
    asked = [ask for user in users for _ in range(5) for ask in play(user.begin())]
    questions = [contents(ask, "user")[-1] for ask in asked]
    assert len(set(questions)) == len(questions) == 100
    assert {contents(ask, "system")[0] for ask in asked} == {kind.chats.system}
    assert len(kind.chats.system) / 4 == pytest.approx(80, abs=3)
    firsts = [ask for ask in asked if len(ask.prompt.messages) == 2]
    assert all(contents(ask, "user")[0].startswith(kind.chats.prefix + " ") for ask in firsts)
    assert len(kind.chats.prefix) / 4 == pytest.approx(30, abs=3)


def test_other_kinds_and_epochs_ask_other_questions_and_the_same_user_the_same() -> None:
    def question(kind: KindPrompts, number: int, epoch: int = 0) -> str:
        return contents(play(kind.user(number, epoch).begin())[0], "user")[0]

    kind, other = maker(prompts={"tokens": 30}), maker(place=1, prompts={"tokens": 30})
    assert question(kind, 3) == question(kind, 3)
    assert len({question(kind, 3), question(kind, 4), question(kind, 3, epoch=1), question(other, 3)}) == 4


def test_parameters_of_a_request() -> None:
    kind = maker(output_tokens=77, model="adapter", stream=0, body={"tools": [1], "seed": 3})
    (ask,) = play(kind.user(0).begin())
    assert ask.parameters == {"tools": [1], "seed": 3, "model": "adapter", "max_tokens": 77}
    assert ask.streamed is False
    (ask,) = play(maker().user(0).begin())
    assert (ask.parameters, ask.streamed) == ({"max_tokens": OPTIONS.max_tokens}, None)
    assert ask.prompt.asked_tokens == OPTIONS.input_tokens
    assert ask.prompt.text == contents(ask, "user")[0], "a single question can be sent to /v1/completions"


def test_a_conversation_ends_before_the_context_is_full() -> None:
    kind = maker(context=1000, turns=50, prompts={"tokens": 100}, output_tokens=100)
    asked = play(kind.user(0).begin())
    assert 3 < len(asked) < 10
    assert all(ask.prompt.asked_tokens + ask.parameters["max_tokens"] <= 1000 for ask in asked)
    assert len(play(kind.user(0).begin())) == len(asked), "and the next begins anew"


def test_a_first_question_that_is_too_long_is_shortened() -> None:
    kind = maker(context=1000, prompts={"tokens": 5000}, output_tokens=200)
    (ask,) = play(kind.user(0).begin())
    assert ask.prompt.asked_tokens == pytest.approx(1000 * 0.98 - 16 - 200, abs=2)
    (ask,) = play(maker(context=300, prompts={"tokens": 10}, output_tokens=900).user(0).begin())
    assert ask.parameters["max_tokens"] + ask.prompt.asked_tokens <= 300


def workload(*kinds: Mapping[str, Any]) -> Workload:
    return Workload.model_validate({"name": "team", "kinds": list(kinds)})


CHAT = {"name": "chat", "share": 3, "prompts": {"tokens": 100}, "output_tokens": 50, "turns": 10}
REVIEW = {
    "name": "review",
    "share": 1,
    "prompts": {"tokens": 900},
    "output_tokens": 400,
    "system_prompt": {"tokens": 100},
}


def test_first_requests_are_like_those_of_the_longest_kind() -> None:
    sample = sample_options(workload(CHAT, {**REVIEW, "api": "messages", "stream": 0}), Options(levels=(1, 2)))
    assert (sample.max_tokens, sample.api, sample.no_stream, sample.levels) == (400, "messages", True, (1, 2))
    assert 1000 <= sample.input_tokens <= 1020
    assert mean_lengths(workload(CHAT, REVIEW), OPTIONS, {}) == (0.75 * 100 + 0.25 * 1000, 25)
    assert mean_lengths(workload(CHAT, REVIEW), OPTIONS, {"chat": 500.0})[0] == 0.75 * 500 + 0.25 * 1000


@pytest.mark.parametrize("scale", [1, 100])
def test_mean_lengths_do_not_depend_on_how_shares_are_written(scale: int) -> None:
    batch = {"name": "batch", "users": 2, "prompts": {"tokens": 4000}}
    shared = [{**kind, "share": kind["share"] * scale} for kind in (CHAT, REVIEW)]
    # The fixed kind weighs as much as the average of the others: 0.75, 0.25 and 0.5 of 1.5.
    assert mean_lengths(workload(*shared, batch), OPTIONS, {})[0] == round(0.5 * 100 + 1000 / 6 + 4000 / 3)


def test_kinds_of_fixed_numbers_alone_weigh_by_their_users() -> None:
    few, many = ({"name": str(n), "users": n, "prompts": {"tokens": 1000 * n}} for n in (1, 3))
    assert mean_lengths(workload(few, many), OPTIONS, {})[0] == (1 * 1000 + 3 * 3000) / 4


def test_what_does_not_fit_the_context_is_said_before_the_run() -> None:
    problem, notes = misfits(workload(CHAT, REVIEW), OPTIONS, 1200, "tiny")
    assert problem == (
        "workload team: kind review: its usual first request of 1,016 tokens and reply of 400 are together more than "
        "the 1,200 tokens of tiny's context"
    )
    problem, notes = misfits(workload(CHAT), OPTIONS, 1200, "tiny")
    assert problem is None
    assert notes == [
        "chat: about 100% of the conversations fill the context, and end before all their turns (1,200 tokens)"
    ]
    long = {**CHAT, "turns": 1, "prompts": {"tokens": {"uniform": [1, 2000]}}}
    problem, notes = misfits(workload(long), OPTIONS, 1500, "tiny")
    assert problem is None
    share = float(notes[0].split("about ")[1].split("%")[0])
    assert share == pytest.approx(28, abs=6)
    assert misfits(workload(CHAT, REVIEW), OPTIONS, 32_000, "big") == (None, [])


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"input_tokens": 300}, "--input-tokens 300"),
        ({"max_tokens": 300}, "--max-tokens 300"),
        ({"shared_prefix_tokens": 10}, "--shared-prefix-tokens 10"),
        ({"model": "x"}, None),
        ({"levels": (1,)}, None),
    ],
)
def test_options_that_no_kind_leaves_open_are_refused(given: dict[str, Any], flag: str | None) -> None:
    if flag is None:
        check_unused_options(workload(CHAT, REVIEW), Options(**given))
        return
    with pytest.raises(SettingsError) as error:
        check_unused_options(workload(CHAT, REVIEW), Options(**given))
    assert str(error.value) == f"{flag}: has no effect: every kind of the workload team sets it"
    if flag != "--shared-prefix-tokens 10":
        check_unused_options(workload(CHAT, {"name": "open"}), Options(**given))
