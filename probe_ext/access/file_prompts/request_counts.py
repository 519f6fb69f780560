"""Tokens of whole requests, as the server under test counts them: text by its tokenizer, all else by the usage."""

from collections.abc import Callable, Mapping
from typing import Any

from probe_ext.access.prompt_source import count_by_usage
from probe_ext.client.wire.address import Target
from probe_ext.prompts.files.prompt_forms import only_text
from probe_ext.prompts.prompt import Prompt
from probe_ext.settings.options import Options
from probe_ext.target.control.fetch import Fetcher
from probe_ext.target.token_count import Tokenizer, find

MAX_GENERATIONS = 12
"""requests for one token that may be made to learn a prompt's length from the usage"""
_MAX_COUNTS = 1000


class RequestCounter:
    """Counts one server's tokens, with few generations."""

    def __init__(self, target: Target, model: str, options: Options, fetcher: Fetcher) -> None:
        self._tokenizer: Tokenizer | None = find(target.url, model, fetcher)
        self._by_usage: Callable[..., int | None] = count_by_usage(target, model, options, fetcher)
        self._options = options
        self._generations = 0

    @property
    def by_tokenizer(self) -> bool:
        """Whether counting a text costs no generation."""
        return self._tokenizer is not None

    @property
    def samples(self) -> int:
        """How many prompts of a file may be counted."""
        return MAX_GENERATIONS if self._tokenizer is None else _MAX_COUNTS

    def count(self, prompt: Prompt) -> int | None:
        """Return the tokens of a prompt with its template; None if the server does not count it."""
        tokenizer = self._tokenizer
        if tokenizer is not None and only_text(prompt.messages):
            if self._options.api == "completion" and prompt.text is not None:
                return tokenizer.text(prompt.text)
            if (tokens := tokenizer.chat(prompt.messages, prompt.fields.get("tools", ()))) is not None:
                return tokens
        if self._generations >= MAX_GENERATIONS:
            return None
        self._generations += 1
        return self._by_usage(_payload(prompt, self._options), prompt.fields)


def _payload(prompt: Prompt, options: Options) -> str | tuple[Mapping[str, Any], ...]:
    return prompt.text if options.api == "completion" and prompt.text is not None else prompt.messages
