"""Counting tokens as the server does, through its `/tokenize`, where it has one.

vLLM (and SGLang after it): POST {"model", "prompt"} or {"model", "messages"} → {"count"}. llama.cpp: POST {"content"} →
{"tokens"}, and `/apply-template` for chats. TGI: POST {"inputs"} → a list. None means: this server does not tell.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from probe_ext.target import urls
from probe_ext.target.call_result import Answer, Failed, json_object

Messages = Sequence[Mapping[str, str]]

_TRIAL = "one two three"


class Poster(Protocol):
    """What is needed of a `Fetcher`."""

    def post(self, url: str, payload: dict[str, Any], timeout: float | None = None) -> Answer | Failed:
        """The answer to a POST of JSON."""


@dataclass(frozen=True)
class Tokenizer:
    """Counts through one server. Each call is one request: calibrate with it, do not call it for every prompt."""

    style: str
    """`vllm`, `llama.cpp` or `tgi`"""
    text: Callable[[str], int | None]
    """tokens of a plain prompt, as `/v1/completions` would see it"""
    chat: Callable[[Messages], int | None]
    """tokens of a chat with its template; None where the server applies none on request"""


def find(host: str, model: str, poster: Poster) -> Tokenizer | None:
    """The server's tokenizer, looked for behind the host's prefix and at its origin; None where there is none."""
    for root in urls.roots(host):
        for make in (_vllm, _llamacpp, _tgi):
            tokenizer = make(root, model, poster)
            if tokenizer.text(_TRIAL):
                return tokenizer
    return None


def _vllm(root: str, model: str, poster: Poster) -> Tokenizer:
    def text(prompt: str) -> int | None:
        return _told_count(poster.post(f"{root}/tokenize", {"model": model, "prompt": prompt}))

    def chat(messages: Messages) -> int | None:
        payload = {"model": model, "messages": [dict(m) for m in messages], "add_generation_prompt": True}
        return _told_count(poster.post(f"{root}/tokenize", payload))

    return Tokenizer("vllm", text, chat)


def _llamacpp(root: str, model: str, poster: Poster) -> Tokenizer:
    def text(prompt: str) -> int | None:
        told = json_object(poster.post(f"{root}/tokenize", {"content": prompt, "add_special": True}))
        tokens = (told or {}).get("tokens")
        return len(tokens) if isinstance(tokens, list) else None

    def chat(messages: Messages) -> int | None:
        payload = {"model": model, "messages": [dict(m) for m in messages]}
        prompt = (json_object(poster.post(f"{root}/apply-template", payload)) or {}).get("prompt")
        return text(prompt) if isinstance(prompt, str) else None

    return Tokenizer("llama.cpp", text, chat)


def _tgi(root: str, model: str, poster: Poster) -> Tokenizer:
    def text(prompt: str) -> int | None:
        answer = poster.post(f"{root}/tokenize", {"inputs": prompt})
        try:
            told = json.loads(answer.body) if isinstance(answer, Answer) else None
        except (ValueError, RecursionError):
            return None
        return len(told) if isinstance(told, list) else None

    return Tokenizer("tgi", text, lambda messages: None)


def _told_count(answer: Answer | Failed) -> int | None:
    count = (json_object(answer) or {}).get("count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None
