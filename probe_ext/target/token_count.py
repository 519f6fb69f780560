"""Count tokens as the server does, with its `/tokenize` if there is one.

vLLM and SGLang: POST {"model", "prompt"} or {"model", "messages"} → {"count"}. llama.cpp: POST {"content"} →
{"tokens"}, and `/apply-template` for chats. TGI: POST {"inputs"} → a list. None means that the server does not count.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from probe_ext.target.control import urls
from probe_ext.target.control.call_result import Answer, Failed, json_object

Messages = Sequence[Mapping[str, Any]]

_TRIAL_TEXT = "one two three"


class ChatCounter(Protocol):
    """Counts the tokens of a chat including its template; None if the server cannot apply it."""

    def __call__(self, messages: Messages, tools: Sequence[Any] = ()) -> int | None:
        """`tools`: as in the request, since the template shows them to the model."""


class Poster(Protocol):
    """The part of `Fetcher` that is used here."""

    def post(self, url: str, payload: dict[str, Any], timeout: float | None = None) -> Answer | Failed:
        """POST JSON."""


@dataclass(frozen=True)
class Tokenizer:
    """Counts tokens with one request per call: for calibration, not for every prompt."""

    style: str
    """`vllm`, `llama.cpp` or `tgi`"""
    text: Callable[[str], int | None]
    """tokens of a prompt for `/v1/completions`"""
    chat: ChatCounter


def find(host: str, model: str, poster: Poster) -> Tokenizer | None:
    """Return the server's tokenizer, below the host's path prefix or at its origin; None if there is none."""
    for root in urls.roots(host):
        for make in (_vllm, _llamacpp, _tgi):
            tokenizer = make(root, model, poster)
            if tokenizer.text(_TRIAL_TEXT):
                return tokenizer
    return None


def _vllm(root: str, model: str, poster: Poster) -> Tokenizer:
    def text(prompt: str) -> int | None:
        return _count(poster.post(f"{root}/tokenize", {"model": model, "prompt": prompt}))

    def chat(messages: Messages, tools: Sequence[Any] = ()) -> int | None:
        payload = {**_chat_payload(model, messages, tools), "add_generation_prompt": True}
        return _count(poster.post(f"{root}/tokenize", payload))

    return Tokenizer("vllm", text, chat)


def _llamacpp(root: str, model: str, poster: Poster) -> Tokenizer:
    def text(prompt: str) -> int | None:
        body = json_object(poster.post(f"{root}/tokenize", {"content": prompt, "add_special": True}))
        tokens = (body or {}).get("tokens")
        return len(tokens) if isinstance(tokens, list) else None

    def chat(messages: Messages, tools: Sequence[Any] = ()) -> int | None:
        applied = poster.post(f"{root}/apply-template", _chat_payload(model, messages, tools))
        prompt = (json_object(applied) or {}).get("prompt")
        return text(prompt) if isinstance(prompt, str) else None

    return Tokenizer("llama.cpp", text, chat)


def _tgi(root: str, model: str, poster: Poster) -> Tokenizer:
    def text(prompt: str) -> int | None:
        answer = poster.post(f"{root}/tokenize", {"inputs": prompt})
        try:
            tokens = json.loads(answer.body) if isinstance(answer, Answer) else None
        except (ValueError, RecursionError):
            return None
        return len(tokens) if isinstance(tokens, list) else None

    return Tokenizer("tgi", text, lambda messages, tools=(): None)


def _chat_payload(model: str, messages: Messages, tools: Sequence[Any]) -> dict[str, Any]:
    return {"model": model, "messages": [dict(m) for m in messages], **({"tools": list(tools)} if tools else {})}


def _count(answer: Answer | Failed) -> int | None:
    count = (json_object(answer) or {}).get("count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None
