"""The sessions of agents: a context that grows with every tool's result, is compacted, and is shared with nobody.

A session begins with a task. Each reply calls a tool, whose result is the next message; the last reply is the answer.
Results are sent as messages of the user, since only a real model would call real tools. A context of `compact.at`
tokens, or one that has no room for the next request, is summarised by the server: the session goes on with text of
`compact.to` tokens in all, which ends with that summary.
"""

from typing import Protocol

from probe_ext.access.ask import Answer, Ask, Conversation
from probe_ext.prompts.conversation import Chat, ChatMaker
from probe_ext.prompts.prompt import Prompt
from probe_ext.settings.options import Options
from probe_ext.workload.agent_kind import Agent
from probe_ext.workload.draws import Draws
from probe_ext.workload.user_kind import UserKind

_INSTRUCTION_TOKENS = 32
"""of the message that asks for a summary"""


class SessionMaker(Protocol):
    """What is the same for all users of the kind."""

    kind: UserKind
    options: Options
    chats: ChatMaker
    question_tokens: int

    def room(self, tokens: float) -> int | None:
        """Return the tokens for which the model's context has room beside so many; None if it is not known."""


class AgentUser(Protocol):
    """The user whose session it is, over the whole run."""

    draws: Draws
    number: int
    requests: int
    conversations: int

    @property
    def maker(self) -> SessionMaker: ...

    def next_text(self) -> int:
        """Return the number of its next text."""

    def helper(self) -> "AgentUser":
        """Return a sub-agent, with draws and texts of its own."""


class AgentSession:
    """One session of an agent, or of a sub-agent (`helper`).

    `done`: turns that lie behind an agent that joins in mid-session.
    """

    ends_at_failure = True

    def __init__(self, user: AgentUser, agent: Agent, turns: int, *, done: int = 0, helper: bool = False) -> None:
        self._user, self._agent, self._maker = user, agent, user.maker
        self._turns, self._turn, self._helper = turns, 0, helper
        self._model = user.draws.model(user.conversations)
        self._chat = self._new_chat()
        self._summarises = self._compacted = False
        """whether the last request asked for a summary, and whether its reply was the last"""
        self._helped = False
        """whether sub-agents worked in the place of a tool"""
        self._last_pause = 0.0
        if done:
            self._join(done)

    # --- what the user does ----------------------------------------------------------------------------------------

    def ask(self) -> Ask | None:
        """Return the next request; None if the session is over, or its context is full and is not compacted."""
        if self._turn >= self._turns:
            return None
        draws, number = self._user.draws, self._user.requests
        draw = draws.request(number)
        tokens, output = self._message_tokens(draw.prompt_tokens, number), draw.output_tokens or self._default_output
        self._last_pause = 0.0 if self._compacted or self._helped or not self._turn else draws.tool_time(number)
        self._helped = False
        if self._must_compact(tokens + output):
            return self._ask_for_summary(draw.streamed, number)
        if not self._fits(tokens + output):
            return None
        self._compacted = False
        self._user.requests += 1
        return self._request(self._say(tokens), output, draw.streamed)

    def answered(self, reply: Answer) -> None:
        """Add a reply to the context; after a summary, go on with that."""
        self._chat.answered(reply.text, reply.tokens_in, reply.tokens_out)
        if self._summarises:
            self._compact(reply)
            return
        self._turn += 1

    def pause(self) -> float:
        """Return the seconds that the tool takes whose result the last request sends; 0 where none was called."""
        return self._last_pause

    def helpers(self) -> list[Conversation]:
        """Return the sessions of the sub-agents that the last reply starts."""
        subagents = self._agent.subagents
        if subagents is None or self._helper or self._compacted or self._turn >= self._turns:
            return []
        found: list[Conversation] = []
        for _ in range(self._user.draws.subagents(self._user.requests)):
            helper = self._user.helper()
            turns = subagents.turns.count(helper.draws.place_in_session())
            found.append(AgentSession(helper, self._agent, turns, helper=True))
        self._helped = bool(found)
        return found

    # --- how that is made ------------------------------------------------------------------------------------------

    @property
    def _default_output(self) -> int:
        return self._maker.options.max_tokens

    def _message_tokens(self, task: int | None, number: int) -> int:
        """Return the length of the next message: the task, or a tool's result."""
        if self._turn:
            return self._at_least(self._user.draws.result_tokens(number))
        if self._helper and self._agent.subagents is not None:
            return self._at_least(self._agent.subagents.prompt_tokens.count(self._user.draws.place_in_session()))
        return self._at_least(task or self._maker.question_tokens)

    def _at_least(self, tokens: int) -> int:
        return max(tokens, self._maker.chats.composer.min_tokens)

    def _new_chat(self) -> Chat:
        return self._maker.chats.chat_from(self._user.number, 0)

    def _say(self, tokens: int) -> Prompt:
        """Add a message of new text to the context."""
        chats, first = self._maker.chats, not self._chat.turns
        text = chats.composer.unique(self._user.number, self._user.next_text(), tokens)
        self._chat.turns += 1
        return self._chat.say(f"{chats.prefix} {text}" if chats.prefix and first else text, tokens)

    def _request(self, prompt: Prompt, output: int, streamed: bool | None) -> Ask:
        named = {"model": self._model} if self._model else {}
        return Ask(prompt, {**self._maker.kind.body, **named, "max_tokens": output}, streamed)

    def _fits(self, more: float) -> bool:
        room = self._maker.room(self._chat.tokens)
        return room is None or more <= room

    def _must_compact(self, more: int) -> bool:
        compact = self._agent.compact
        if compact is None or self._compacted or not self._turn or self._helper:
            return False
        reserve = _INSTRUCTION_TOKENS + self._user.draws.summary_tokens(self._user.requests)
        return self._chat.tokens >= compact.at or not self._fits(more + reserve)

    def _ask_for_summary(self, streamed: bool | None, number: int) -> Ask | None:
        """Return the request for a summary of the whole context; None if not even that has room."""
        instruction = self._at_least(_INSTRUCTION_TOKENS)
        output, room = self._user.draws.summary_tokens(number), self._maker.room(self._chat.tokens + instruction)
        if room is not None:
            output = min(output, int(room))
        if output < 1:
            return None
        self._summarises = True
        return self._request(self._say(instruction), output, streamed)

    def _compact(self, reply: Answer) -> None:
        """Begin a new context that ends with the summary."""
        compact = self._agent.compact
        assert compact is not None  # noqa: S101 -- a summary was asked for
        self._summarises, self._compacted = False, True
        summary = (
            reply.tokens_out if reply.tokens_out is not None else round(self._maker.chats.model.tokens(reply.text))
        )
        self._begin_with(compact.to - summary, reply.text, summary)

    def _begin_with(self, tokens: float, answer: str, answer_tokens: int) -> None:
        """Begin a context of `tokens` beside an answer, which comes last."""
        self._chat = self._new_chat()
        self._say(self._at_least(round(tokens - self._chat.tokens)))
        self._chat.answered(answer, None, answer_tokens)

    def _join(self, done: int) -> None:
        """Take a session up after some turns, with a context as long as it would be by then."""
        draws, compact = self._user.draws, self._agent.compact
        tokens = self._chat.tokens
        for turn in range(done):
            draw = draws.request(turn)
            output = draw.output_tokens or self._default_output
            message = draws.result_tokens(turn) if turn else draw.prompt_tokens or self._maker.question_tokens
            if compact is not None and turn and (tokens >= compact.at or not self._has_room(tokens, message + output)):
                tokens = float(compact.to)
            if not self._has_room(tokens, message + output):
                break
            tokens += message + output
            self._turn += 1
        if self._turn:
            answer = self._maker.chats.composer.unique(self._user.number, self._user.next_text(), 0)
            length = round(sum(map(self._maker.chats.model.tokens, answer.split(" "))))
            self._begin_with(tokens - length, answer, length)

    def _has_room(self, tokens: float, more: float) -> bool:
        room = self._maker.room(tokens)
        return room is None or more <= room
