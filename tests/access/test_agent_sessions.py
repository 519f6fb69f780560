"""Agents against a server of known truth: contexts that grow and are compacted, tool pauses, and sub-agents."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from probe_ext.access.agent_sessions import AgentSession
from probe_ext.access.kind_prompts import KindPrompts
from probe_ext.prompts.length_model import measured_model
from probe_ext.prompts.phrases import phrases_of
from probe_ext.settings.options import Options
from probe_ext.sim.tokenizer import WORDS, encode_chat
from probe_ext.workload.user_kind import UserKind

SEED = 3
TOOL_TIME = {"lognormal": {"median": 2, "p95": 30}}


@cache
def prepared() -> dict[str, Any]:
    """What a master finds out of prompt lengths on the simulated server."""
    model = measured_model(lambda text: len(encode_chat([("user", text)])), "tokenize", phrases_of(SEED))
    lengths = {**asdict(model), "measured": dict(model.measured), "vocabulary": list(model.vocabulary)}
    return {"seed": SEED, "length_model": lengths}


def maker(context: int | None = None, agent: dict[str, Any] | None = None, **keys: Any) -> KindPrompts:
    usual = {"turns": 10, "prompts": {"tokens": 300}, "output_tokens": 100, "system_prompt": {"tokens": 1000}}
    kind = UserKind(name="coder", agent=agent or {"tool_time": 2, "result_tokens": 500}, **{**usual, **keys})
    return KindPrompts(kind, 0, prepared(), Options(), context)


@dataclass(frozen=True)
class Reply:
    text: str
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True)
class Turn:
    """A request as the server saw it."""

    tokens: list[int]
    asked_for: int
    pause: float
    roles: str
    depth: int
    """1: a sub-agent's"""

    @property
    def context(self) -> int:
        return len(self.tokens) + self.asked_for


def play(session: Any, depth: int = 0) -> Iterator[Turn]:
    """Answer every request with exactly as many tokens as it allows."""
    for number in range(10_000):
        ask = session.ask()
        if ask is None:
            return
        messages = [(one["role"], one["content"]) for one in ask.prompt.messages]
        tokens, output = encode_chat(messages), ask.parameters["max_tokens"]
        roles = "".join(role[0] for role, _ in messages)
        yield Turn(tokens, output, session.pause() if number else 0.0, roles, depth)
        text = " ".join(WORDS[(number + i) % len(WORDS)] for i in range(output))
        session.answered(Reply(text, len(tokens), output))
        for helper in session.helpers():
            yield from play(helper, depth + 1)
    raise AssertionError("the session does not end")


def shared(one: list[int], other: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def test_a_context_grows_by_reply_and_result_and_is_sent_whole_each_time() -> None:
    turns = list(play(maker().user(0).begin()))
    assert len(turns) == 10
    assert turns[0].context == pytest.approx(1000 + 300 + 100, abs=20)
    for before, after in pairwise(turns):
        assert len(after.tokens) - len(before.tokens) == pytest.approx(100 + 500, abs=12)
        assert shared(before.tokens, after.tokens) >= len(before.tokens) - 4, "a prefix cache finds all but the end"
    assert [turn.pause for turn in turns] == [0.0] + [2.0] * 9
    assert turns[-1].roles == "s" + "ua" * 9 + "u", "roles alternate, as chat templates want them"


def test_a_context_is_compacted_at_the_stated_length_to_the_stated_length() -> None:
    agent = {"tool_time": 2, "result_tokens": 500, "compact": {"at": 4000, "to": 2000, "summary_tokens": 300}}
    turns = list(play(maker(agent=agent, turns=12).user(0).begin()))
    summaries = [i for i, turn in enumerate(turns) if turn.asked_for == 300]
    assert len(turns) == 12 + len(summaries), "a summary is no turn of the session"
    assert len(summaries) == 2
    for i in summaries:
        assert turns[i - 1].context >= 4000 - 20, "only a context that is long enough is compacted"
        assert turns[i - 2].context < 4000 + 20, "and none waits any longer"
        assert len(turns[i].tokens) == pytest.approx(turns[i - 1].context + 32, abs=20), "the whole context is sent"
        assert len(turns[i + 1].tokens) == pytest.approx(2000 + 500, abs=20), "and 2,000 tokens are left"
        assert (turns[i].pause, turns[i + 1].pause) == (2.0, 0.0), "the result of the tool comes with the summary"
        assert shared(turns[i].tokens, turns[i + 1].tokens) < 1000 + 16, "of the old context, the system prompt is left"
        assert turns[i + 1].roles == "suau"


def test_without_compaction_a_session_ends_where_the_context_is_full_and_with_it_goes_on() -> None:
    ended = list(play(maker(context=4096, turns=50).user(0).begin()))
    assert len(ended) < 6
    assert max(turn.context for turn in ended) <= 4096
    agent = {"result_tokens": 500, "compact": {"at": 100_000, "to": 2000, "summary_tokens": 300}}
    on = list(play(maker(context=4096, agent=agent, turns=50).user(0).begin()))
    assert len([turn for turn in on if turn.asked_for != 300]) == 50
    assert max(turn.context for turn in on) <= 4096
    no_room = {"result_tokens": 3000, "compact": {"at": 5000, "to": 3900, "summary_tokens": 300}}
    assert len(list(play(maker(context=4096, agent=no_room, turns=50).user(0).begin()))) < 5


@pytest.mark.untraced
def test_tool_times_and_results_are_those_of_the_seed() -> None:
    agent = {"tool_time": TOOL_TIME, "result_tokens": {"uniform": [100, 900]}}
    user = maker(agent=agent, turns=40).user(7)
    turns = list(play(user.begin()))
    assert [turn.pause for turn in turns[1:]] == [user.draws.tool_time(number) for number in range(1, 40)]
    grown = [len(after.tokens) - len(before.tokens) - 100 for before, after in pairwise(turns)]
    assert grown == pytest.approx([user.draws.result_tokens(number) for number in range(1, 40)], abs=12)
    again = list(play(maker(agent=agent, turns=40).user(7).begin()))
    assert again == turns, "any process makes the same session"
    assert list(play(maker(agent=agent, turns=40).user(8).begin())) != turns


def test_sub_agents_work_side_by_side_and_take_the_place_of_a_tool() -> None:
    subagents = {"share": 0.3, "count": {"uniform": [2, 4]}, "turns": 3, "prompt_tokens": 200}
    agent = {"tool_time": 2, "result_tokens": 500, "subagents": subagents}
    kind = maker(agent=agent, turns=200)
    user = kind.user(0)
    session, groups, own = user.begin(), [], 0
    while (ask := session.ask()) is not None:
        assert session.pause() == (0.0 if not own or (groups and groups[-1][0] == own) else 2.0)
        session.answered(Reply("word", 100, 5))
        own += 1
        if helpers := session.helpers():
            groups.append((own, len(helpers), [list(play(helper)) for helper in helpers]))
        assert ask
    assert own == 200
    assert 40 <= len(groups) <= 80, "of 199 calls, 3 in 10"
    assert {count for _, count, _ in groups} == {2, 3, 4}
    sessions = [turns for _, _, group in groups for turns in group]
    assert {len(turns) for turns in sessions} == {3}
    assert all(turns[0].context == pytest.approx(1300, abs=20) for turns in sessions), "a fresh context each"
    texts = [tuple(turns[0].tokens[1020:]) for turns in sessions]
    assert len(set(texts)) == len(texts)
    assert all(shared(one[0].tokens, other[0].tokens) >= 1000 for one, other in pairwise(sessions)), "system prompt"


@pytest.mark.untraced
def test_an_agent_that_joins_is_in_the_middle_of_a_session() -> None:
    agent = {"tool_time": 2, "result_tokens": 500, "compact": {"at": 6000, "to": 2000, "summary_tokens": 300}}
    kind = maker(agent=agent, turns=20)
    lengths, firsts = [], []
    for number in range(20):
        user = kind.user(number)
        user.joins = user.enters = True
        assert 0.0 <= user.pause() <= 2.0, "in the middle of a tool's time"
        session = user.begin()
        assert isinstance(session, AgentSession)
        first, *rest = play(session)
        firsts.append(len(first.tokens))
        lengths.append(1 + len([turn for turn in rest if turn.asked_for != 300]))
        assert len(list(play(user.begin()))) >= 20, "the next session is a whole one"
    for number in range(300):
        user = kind.user(number)
        user.enters = True
        ask = user.begin().ask()
        assert ask is not None
        firsts.append(ask.prompt.asked_tokens or 0)
    assert min(lengths) >= 1
    assert max(lengths) <= 20
    assert len(set(lengths)) > 10
    assert min(firsts) < 2000
    assert max(firsts) == pytest.approx(6000, abs=700), "contexts of all lengths, none beyond compaction"
