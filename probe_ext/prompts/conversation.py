"""Chats that grow turn by turn: system prompt, question, answer, question, …"""

from probe_ext.prompts.composer import composer
from probe_ext.prompts.length_model import LengthModel
from probe_ext.prompts.prompt import Message, Prompt

_MAX_TURNS = 1024
"""turns per chat for which questions are unique"""


class ChatMaker:
    """Makes the chats of one run. All share one system prompt, and what their first questions begin with."""

    def __init__(
        self,
        seed: int | str,
        turn_tokens: int,
        model: LengthModel,
        *,
        system_tokens: int = 0,
        system: str | None = None,
        prefix_tokens: int = 0,
        name: str = "",
    ) -> None:
        """`turn_tokens`: length of each question; `system`: a given system prompt; `name`: other names, other texts."""
        self.composer = composer(seed, model)
        self.model = model
        self.turn_tokens = max(turn_tokens, self.composer.min_tokens)
        self.system_tokens: float = max(0, system_tokens)
        self.system = self.composer.shared(f"system prompt{name}", system_tokens) if system_tokens > 0 else ""
        if system is not None:
            self.system, self.system_tokens = system, model.tokens(system)
        self.prefix_tokens = max(0, prefix_tokens)
        self.prefix = self.composer.shared(f"shared prefix{name}", prefix_tokens) if prefix_tokens > 0 else ""

    def chat(self, user: int, number: int) -> "Chat":
        """Return a user's chat `number`, both counted from 0 over the whole run."""
        return Chat(self, user, number * _MAX_TURNS)

    def chat_from(self, user: int, first_text: int) -> "Chat":
        """Return a user's chat whose questions follow on that many others of the same user."""
        return Chat(self, user, first_text)

    @property
    def base_tokens(self) -> float:
        """Tokens of a chat before the user's first own word."""
        return self.model.constant + self.system_tokens + self.prefix_tokens


class Chat:
    """One user's chat: ask, record the answer, ask again."""

    def __init__(self, maker: ChatMaker, user: int, first_text: int) -> None:
        self._maker = maker
        self._user = user
        self._first_text = first_text
        self._messages: list[Message] = [{"role": "system", "content": maker.system}] if maker.system else []
        self.tokens = maker.base_tokens
        """of the chat so far, estimated from the last usage if there was one"""
        self.turns = 0

    def ask(self, tokens: int | None = None) -> Prompt:
        """Return the chat so far with one more question, of `tokens` (default: the maker's)."""
        maker = self._maker
        self.turns += 1
        length = maker.turn_tokens if tokens is None else max(tokens, maker.composer.min_tokens)
        question = maker.composer.unique(self._user, self._first_text + self.turns, length)
        return self.say(f"{maker.prefix} {question}" if maker.prefix and self.turns == 1 else question, length)

    def say(self, question: str, tokens: float) -> Prompt:
        """Return the chat so far with this question."""
        self._messages.append({"role": "user", "content": question})
        self.tokens += tokens
        text = question if len(self._messages) == 1 else None
        return Prompt(text, tuple(self._messages), round(self.tokens))

    def answered(self, text: str, tokens_in: int | None = None, tokens_out: int | None = None) -> None:
        """Add the answer to the chat; the server's counts replace the estimated length."""
        self._messages.append({"role": "assistant", "content": text})
        if tokens_in is not None:
            self.tokens = tokens_in
        self.tokens += tokens_out if tokens_out is not None else self._maker.model.tokens(text)
