"""A chat that grows turn by turn, as a person's does: system prompt, question, answer, question, …"""

from probe_ext.prompts.composer import layer
from probe_ext.prompts.length_model import LengthModel
from probe_ext.prompts.prompt import Message, Prompt

_TURNS_EACH = 1024
"""turns a chat may have before its questions could meet another chat's"""


class ChatMaker:
    """Makes the chats of one run."""

    def __init__(
        self,
        seed: int | str,
        turn_tokens: int,
        model: LengthModel,
        *,
        system_tokens: int = 0,
    ) -> None:
        """`turn_tokens`: of each question. All chats share one system prompt of `system_tokens`, if that is not 0."""
        self.layer = layer(seed, model)
        self.model = model
        self.turn_tokens = max(turn_tokens, self.layer.least)
        self.system_tokens = system_tokens
        self.system = self.layer.shared("system prompt", system_tokens) if system_tokens > 0 else ""

    def chat(self, user: int, number: int) -> "Chat":
        """A user's chat `number`, both counted from 0 over the whole run."""
        return Chat(self, user, number)


class Chat:
    """One person's chat. Ask, then say what was answered, then ask again."""

    def __init__(self, maker: ChatMaker, user: int, number: int) -> None:
        self._maker = maker
        self._user = user
        self._number = number * _TURNS_EACH
        self._messages: list[Message] = [{"role": "system", "content": maker.system}] if maker.system else []
        self._tokens = maker.model.constant + (maker.system_tokens if maker.system else 0)
        self.turns = 0

    def ask(self) -> Prompt:
        """The chat so far with one more question. Its length is the last usage plus the question, else an estimate."""
        self.turns += 1
        question = self._maker.layer.unique(self._user, self._number + self.turns, self._maker.turn_tokens)
        self._messages.append({"role": "user", "content": question})
        self._tokens += self._maker.turn_tokens
        return Prompt(None, tuple(self._messages), round(self._tokens))

    def answered(self, text: str, tokens_in: int | None = None, tokens_out: int | None = None) -> None:
        """Take the answer into the chat; the server's own counts, where known, replace the estimate."""
        self._messages.append({"role": "assistant", "content": text})
        if tokens_in is not None:
            self._tokens = tokens_in
        self._tokens += tokens_out if tokens_out is not None else self._maker.model.tokens(text)
