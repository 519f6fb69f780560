"""How many tokens a prompt's text has, from its characters: what the server's counts of whole prompts say about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.recording.recorded_request import RecordedRequest

DEFAULT_CHARACTERS_PER_TOKEN = 4.0
_ROLE_CHARACTERS = {"user": 6, "assistant": 11}
"""of a message in `characters`, beside its text: role and line ends"""
_MESSAGE_TOKENS, _PROMPT_TOKENS = 4.0, 3.0
"""of usual chat templates, for each message and for each prompt, where the recording does not tell"""
_MIN_REQUESTS, _MIN_SPREAD = 20, 0.1
_MIN_TOKENS_PER_CHARACTER, _MAX_TOKENS_PER_CHARACTER = 0.02, 2.0
"""tokens per character that are believed"""


@dataclass(frozen=True, slots=True)
class TextLengths:
    """Converts characters of text to tokens."""

    per_character: float
    measured: bool
    """whether the server's counts say so, or it is assumed"""

    def tokens(self, characters: float) -> float:
        """Return the tokens of some text."""
        return max(0.0, characters) * self.per_character


def text_lengths(requests: Sequence[RecordedRequest]) -> TextLengths:
    """Return what the token counts of requests say. The template's tokens are not counted as text."""
    known = [each for each in requests if each.input_tokens and each.characters and each.messages and not each.media]
    if not known:
        return TextLengths(1 / DEFAULT_CHARACTERS_PER_TOKEN, measured=False)
    characters = np.array([each.characters for each in known], dtype=float)
    messages = np.array([each.messages for each in known], dtype=float)
    tokens = np.array([each.input_tokens for each in known], dtype=float)
    text = np.maximum(characters - _ROLE_CHARACTERS["user"] * messages, 1.0)
    rate = _slope(text, messages, tokens)
    if rate is None:
        template = 0.0 if known[0].endpoint == "completion" else _MESSAGE_TOKENS * messages + _PROMPT_TOKENS
        rate = float(np.sum(np.maximum(tokens - template, 1.0)) / np.sum(text))
    return TextLengths(min(max(rate, _MIN_TOKENS_PER_CHARACTER), _MAX_TOKENS_PER_CHARACTER), measured=True)


def _slope(text: np.ndarray, messages: np.ndarray, tokens: np.ndarray) -> float | None:
    """Return the tokens per character of text, apart from those of the template; None if lengths hardly differ."""
    if len(text) < _MIN_REQUESTS or np.std(text) < _MIN_SPREAD * np.mean(text):
        return None
    columns = [text, np.ones_like(text)]
    if np.std(messages) > 0:
        columns.append(messages)
    solved, *_ = np.linalg.lstsq(np.stack(columns, axis=1), tokens, rcond=None)
    return float(solved[0]) if _MIN_TOKENS_PER_CHARACTER <= solved[0] <= _MAX_TOKENS_PER_CHARACTER else None


def question_characters(request: RecordedRequest, before: RecordedRequest | None) -> float | None:
    """Return the characters of what a user has added: since the reply before, or behind the system prompt."""
    if request.characters is None:
        return None
    if before is None:
        return max(0.0, request.characters - (request.system_characters or 0) - _ROLE_CHARACTERS["user"])
    if before.characters is None or before.output_characters is None:
        return None
    old = before.characters + before.output_characters + sum(_ROLE_CHARACTERS.values())
    return request.characters - old if request.characters > old else None
