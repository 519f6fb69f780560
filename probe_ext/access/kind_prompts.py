"""The conversations of a workload's users: prompts of the server's tokens, a growing history, and what fits into it."""

from typing import Any

from probe_ext.access.agent_sessions import AgentSession
from probe_ext.access.ask import Answer, Ask, Conversation
from probe_ext.access.file_prompts.file_questions import FileQuestions, FileTurns, LostFile
from probe_ext.access.prompt_source import length_model
from probe_ext.prompts.conversation import Chat, ChatMaker
from probe_ext.prompts.prompt import Prompt
from probe_ext.settings.options import Options
from probe_ext.workload.draws import Draws
from probe_ext.workload.user_kind import UserKind

_FIRST_USER = 1 << 29  # user numbers above those of users without a workload, whose texts depend on the number only
_MAX_KINDS, _MAX_EPOCHS, _USERS_PER_KIND = 16, 32, 1_000_000
_HELPER_TEXTS, _TEXTS_PER_HELPER, _MAX_HELPERS = 1 << 19, 1 << 10, 1 << 9  # of the 2^20 text numbers of a user
_MARGIN_TOKENS, _MARGIN_SHARE = 16, 0.02  # of the context, for what is only estimated


class KindPrompts:
    """Makes the conversations of all users of one kind in one process.

    `place`: the kind's among all of its workload; `prepared`: what the master found out of prompt lengths; `context`:
    the model's context length in tokens, None if it is unknown; `file`: where questions come from that are not
    synthetic.
    """

    def __init__(
        self,
        kind: UserKind,
        place: int,
        prepared: dict[str, Any],
        options: Options,
        context: int | None,
        file: FileQuestions | LostFile | None = None,
    ) -> None:
        self.file = file
        self.kind, self.options, self.context = kind, options, context
        self.seed: int = prepared.get("seed", 0)
        self._place = place
        system = kind.system_prompt
        self.chats = ChatMaker(
            self.seed,
            1,
            length_model(prepared),
            system_tokens=system.tokens or 0 if system else 0,
            system=system.text if system else None,
            prefix_tokens=kind.shared_prefix_tokens,
            name=f" {kind.seed_name}".rstrip(),
        )
        self.question_tokens = max(1, options.input_tokens - round(self.chats.base_tokens))
        """of a kind whose prompts are those of the options"""

    def user(self, number: int, epoch: int = 0) -> "KindUser":
        """Return the user of a number among all of the kind; another `epoch` is another user."""
        own = ((epoch % _MAX_EPOCHS) * _MAX_KINDS + self._place) * _USERS_PER_KIND + number % _USERS_PER_KIND
        return KindUser(self, Draws(self.kind, self.seed, f"{epoch}.{number}"), _FIRST_USER + own)

    def caller(self, in_run: int, in_kind: int) -> "KindUser":
        """Return who asks at an arrival of an open stream: a user of its own, for one conversation.

        `in_run`, `in_kind`: how many arrivals of the run, and of this kind, come before it. What is asked follows from
        them, whichever connection is free. Which arrivals take later turns of a conversation depends on the replies.
        """
        caller = self.user(in_run, in_run // _USERS_PER_KIND)
        caller.file_position = in_kind if self.kind.turns.average_count == 1 else None
        return caller

    def begin(self, user: int, first_text: int, file_position: int | None = None) -> "SyntheticTurns | FileTurns":
        """Return a conversation of a user who has asked `first_text` questions before.

        `file_position`: of its question among those that this kind takes from its file; None: this process's next.
        """
        if self.file is not None:
            return self.file.begin(self.chats.system, self.chats.prefix, file_position)
        return SyntheticTurns(self, self.chats.chat_from(user, first_text))

    def room(self, tokens: float) -> int | None:
        """Return the tokens for which the model's context has room beside so many; None if it is not known."""
        if self.context is None:
            return None
        return int(self.context * (1 - _MARGIN_SHARE) - _MARGIN_TOKENS - tokens)

    def fitting(self, chat: Chat, question: int, output: int) -> tuple[int, int] | None:
        """Return the lengths of a question and its reply that fit into the context; None if the chat must end.

        A chat ends rather than being cut. Only a first question is made shorter, and its reply.
        """
        least = self.chats.composer.min_tokens
        question = max(question, least)
        if self.context is None:
            return question, output
        room = self.room(chat.tokens) or 0
        if question + output <= room:
            return question, output
        if chat.turns:
            return None
        output = max(1, min(output, room - least))
        return max(least, min(question, room - output)), output


class KindUser:
    """One user of a kind, over the whole run."""

    def __init__(self, maker: KindPrompts, draws: Draws, number: int) -> None:
        self.maker, self.draws, self.number = maker, draws, number
        self.requests = self.conversations = self.pauses = 0
        self.joins = False
        """whether the next pause is one that began before this user came, or came back"""
        self.enters = False
        """whether the next session is one that an agent is in the middle of"""
        self._texts = self._helpers = 0
        self.file_position: int | None = None
        """of this user's question in the order of its file; None: whichever comes next in this process"""

    def begin(self) -> Conversation:
        """Return the user's next conversation."""
        self.conversations += 1
        agent = self.maker.kind.agent
        if agent is None:
            return KindConversation(self, self.conversations - 1)
        turns = self.draws.turns(self.conversations - 1)
        done = int(self.draws.place_in_session() * turns) if self.enters else 0
        self.enters = False
        return AgentSession(self, agent, turns, done=done)

    def next_text(self) -> int:
        """Return the number of an agent's next text; no two of a user, or of its sub-agents, are the same."""
        self._texts += 1
        return self._texts

    def helper(self) -> "KindUser":
        """Return a sub-agent of an agent, with draws and texts of its own."""
        self._helpers += 1
        helper = KindUser(self.maker, self.draws.of_helper(self._helpers), self.number)
        helper._texts = _HELPER_TEXTS + self._helpers % _MAX_HELPERS * _TEXTS_PER_HELPER
        return helper

    def pause(self) -> float:
        """Return the seconds until this user's next request."""
        draw = self.draws.rest_of_pause if self.joins else self.draws.pause
        if self.joins and self.maker.kind.agent is not None:
            draw = self.draws.rest_of_tool_time
        self.joins = False
        self.pauses += 1
        return draw(self.pauses - 1)


class SyntheticTurns:
    """The turns of one conversation with synthetic questions."""

    def __init__(self, maker: KindPrompts, chat: Chat) -> None:
        self._maker, self._chat = maker, chat

    @property
    def turns(self) -> int:
        """Questions so far."""
        return self._chat.turns

    def question(self, tokens: int | None, output: int) -> tuple[Prompt, int] | None:
        """Return the next request, and the tokens that its reply may have; None if the context has no room for more."""
        fitting = self._maker.fitting(self._chat, tokens or self._maker.question_tokens, output)
        return None if fitting is None else (self._chat.ask(fitting[0]), fitting[1])

    def answered(self, text: str, tokens_in: int | None = None, tokens_out: int | None = None) -> None:
        """Add the answer; the server's counts tell how long the chat is."""
        self._chat.answered(text, tokens_in, tokens_out)


class KindConversation:
    """One conversation: ask, answer, ask again, until `ask` returns None."""

    ends_at_failure = True

    def __init__(self, user: KindUser, number: int) -> None:
        self._user, self._maker = user, user.maker
        self._chat = user.maker.begin(user.number, user.requests, user.file_position)
        self._turns = user.draws.turns(number)
        self._model = user.draws.model(number)

    def ask(self) -> Ask | None:
        """Return the next request; None if all was asked, or the context has no room for more.

        PromptFileError if the questions come from a file, and it has changed.
        """
        if self._chat.turns >= self._turns:
            return None
        user, maker = self._user, self._maker
        draw = user.draws.request(user.requests)
        question = self._chat.question(draw.prompt_tokens, draw.output_tokens or maker.options.max_tokens)
        if question is None:
            return None
        prompt, output = question
        user.requests += 1
        named = {"model": self._model} if self._model else {}
        parameters = {**maker.kind.body, **named, "max_tokens": output}
        return Ask(prompt, parameters, draw.streamed)

    def pause(self) -> None:
        """Return None: people think before they ask."""

    def helpers(self) -> list[Conversation]:
        """Return none: nobody else asks for them."""
        return []

    def answered(self, reply: Answer) -> None:
        """Add a reply to the conversation."""
        self._chat.answered(reply.text, reply.tokens_in, reply.tokens_out)
