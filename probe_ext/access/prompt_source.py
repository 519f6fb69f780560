"""Fit prompt lengths to the server's tokenizer, and give every user prompts of its own."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from probe_ext.access.endpoint import Payload
from probe_ext.client.api.json_text import decoded
from probe_ext.client.api.openai_api import PATHS
from probe_ext.client.api.request_form import RequestForm, poorer_form, request_body
from probe_ext.client.api.usage_counts import parse_usage
from probe_ext.client.wire.address import Target
from probe_ext.prompts.composer import TooShortError
from probe_ext.prompts.conversation import Chat, ChatMaker
from probe_ext.prompts.length_model import LengthModel, estimated_model, measured_model
from probe_ext.prompts.phrases import phrases_of
from probe_ext.prompts.prompt import Prompt
from probe_ext.prompts.synthetic import PromptMaker
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.target.control.call_result import Answer, Failed, json_object
from probe_ext.target.control.fetch import Fetcher
from probe_ext.target.token_count import find

_USERS_PER_WORKER = 1_000_000  # user numbers of different workers never overlap
_MAX_COUNTING_REQUESTS = 12  # if the server has no tokenizer endpoint


def calibrated(target: Target, model: str, options: Options, fetcher: Fetcher, seed: int) -> dict[str, Any]:
    """Return what the manifest records and workers need of prompts; `length_model` as plain types.

    SettingsError if a prompt of --input-tokens cannot be made.
    """
    lengths = _lengths(target, model, options, fetcher, seed)
    try:
        PromptMaker(seed, options.input_tokens, lengths, shared_prefix_tokens=options.shared_prefix_tokens)
    except TooShortError as error:
        raise SettingsError(f"--input-tokens {options.input_tokens}: {error}") from error
    return {
        "seed": seed,
        "input_tokens": options.input_tokens,
        "shared_prefix_tokens": options.shared_prefix_tokens,
        "counted_by": lengths.counted_by,
        "length_model": {**asdict(lengths), "measured": dict(lengths.measured), "vocabulary": list(lengths.vocabulary)},
    }


def _lengths(target: Target, model: str, options: Options, fetcher: Fetcher, seed: int) -> LengthModel:
    tokenizer = find(target.url, model, fetcher)
    if tokenizer is not None:
        chat = tokenizer.chat
        as_chat: Callable[[str], int | None] = lambda text: chat([{"role": "user", "content": text}])  # noqa: E731
        by_tokenizer = as_chat if options.api != "completion" and as_chat("one two three") else tokenizer.text
        return measured_model(by_tokenizer, "tokenize", phrases_of(seed))
    by_usage = count_by_usage(target, model, options, fetcher)
    lengths = measured_model(lambda text: by_usage(text, {}), "usage", phrases_of(seed), _MAX_COUNTING_REQUESTS)
    return lengths if lengths.counted_by == "usage" else estimated_model()


def count_by_usage(
    target: Target, model: str, options: Options, fetcher: Fetcher
) -> Callable[[Payload, Mapping[str, Any]], int | None]:
    """Return a counter of a prompt with further fields of the body, which requests one token and reads the usage."""
    path, form = PATHS[options.api], RequestForm()

    def ask(prompt: Payload, fields: Mapping[str, Any], form: RequestForm) -> Answer | Failed:
        extra, own = {"max_tokens": 1}, {**options.body_extras, **fields}
        body = request_body(path, prompt, model, stream=False, form=form, extra=extra, own=own)
        return fetcher.post(f"{target.url}{path}", json.loads(body))

    def count(prompt: Payload, fields: Mapping[str, Any]) -> int | None:
        nonlocal form
        answer = ask(prompt, fields, form)
        if isinstance(answer, Failed) and (other := poorer_form(form, answer.status, decoded(answer.body))):
            answer, form = ask(prompt, fields, other), other
        usage = parse_usage((json_object(answer) or {}).get("usage"))
        return (usage.prompt if usage else None) or None

    return count


def length_model(prepared: dict[str, Any]) -> LengthModel:
    """Return the length model that the master has prepared; an estimate if it has not."""
    return LengthModel(**prepared["length_model"]) if prepared else estimated_model()


class Prompts:
    """One user's prompts; no two of a run are the same."""

    def __init__(self, prepared: dict[str, Any], options: Options, user: int) -> None:
        self._prepared, self._options, self._user = prepared, options, user
        self._lengths = length_model(prepared)
        self._seed: int = prepared.get("seed", 0)
        self._maker = PromptMaker(
            self._seed, options.input_tokens, self._lengths, shared_prefix_tokens=options.shared_prefix_tokens
        )
        self._singles = self._chats = -1

    def next(self, *, own_first: bool = False) -> Prompt:
        """Return a prompt of --input-tokens tokens; with `own_first`, the shared part comes after the unique one."""
        self._singles += 1
        return self._maker.prompt(self._user, self._singles, own_first=own_first)

    def chat(self, system_tokens: int = 0) -> Chat:
        """Return a conversation with questions of --input-tokens tokens and a system prompt shared by all users."""
        self._chats += 1
        maker = ChatMaker(self._seed, self._options.input_tokens, self._lengths, system_tokens=system_tokens)
        return maker.chat(self._user, self._chats)


def prompts_for(prepared: dict[str, Any], options: Options, worker_index: int, number: int) -> Prompts:
    """Return the prompts of a worker's `number`-th user."""
    return Prompts(prepared, options, user_number(worker_index, number))


def user_number(worker_index: int, number: int) -> int:
    """Return the number of a worker's `number`-th user among those of all workers."""
    return max(0, worker_index) * _USERS_PER_WORKER + number
