"""Chats that grow turn by turn: system prompt, question, answer, question, …"""

from probe_ext.prompts.composer import composer
from probe_ext.prompts.length_model import LengthModel
from probe_ext.prompts.prompt import Message, Prompt

_MAX_TURNS = 1024
"""turns per chat for which questions are unique"""


class ChatMaker:
    """Makes the chats of one run. All share one system prompt."""

    def __init__(self, seed: int | str, turn_tokens: int, model: LengthModel, *, system_tokens: int = 0) -> None:
        """`turn_tokens`: length of each question."""
        self.composer = composer(seed, model)
        self.model = model
        self.turn_tokens = max(turn_tokens, self.composer.min_tokens)
        self.system_tokens = max(0, system_tokens)
        self.system = self.composer.shared("system prompt", system_tokens) if system_tokens > 0 else ""

    def chat(self, user: int, number: int) -> "Chat":
        """Return a user's chat `number`, both counted from 0 over the whole run."""
        return Chat(self, user, number)


class Chat:
    """One user's chat: ask, record the answer, ask again."""

    def __init__(self, maker: ChatMaker, user: int, number: int) -> None:
        self._maker = maker
        self._user = user
        self._first_text = number * _MAX_TURNS
        self._messages: list[Message] = [{"role": "system", "content": maker.system}] if maker.system else []
        self._tokens = maker.model.constant + maker.system_tokens
        self.turns = 0

    def ask(self) -> Prompt:
        """Return the chat so far with one more question; its length is estimated from the last usage, if known."""
        self.turns += 1
        question = self._maker.composer.unique(self._user, self._first_text + self.turns, self._maker.turn_tokens)
        self._messages.append({"role": "user", "content": question})
        self._tokens += self._maker.turn_tokens
        return Prompt(None, tuple(self._messages), round(self._tokens))

    def answered(self, text: str, tokens_in: int | None = None, tokens_out: int | None = None) -> None:
        """Add the answer to the chat; the server's counts replace the estimated length."""
        self._messages.append({"role": "assistant", "content": text})
        if tokens_in is not None:
            self._tokens = tokens_in
        self._tokens += tokens_out if tokens_out is not None else self._maker.model.tokens(text)
