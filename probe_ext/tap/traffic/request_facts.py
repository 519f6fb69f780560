"""What a request asks for: endpoint, model, sampling parameters, and hashes of its prompt."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import orjson

from probe_ext.measure.safe_text import safe_text
from probe_ext.tap.traffic.keyed_hash import KeyedHash
from probe_ext.tap.traffic.prompt_messages import Prompt, prompt_of

_ENDPOINTS = {
    "/chat/completions": "chat",
    "/completions": "completion",
    "/responses": "responses",
    "/messages": "messages",
}
PARAMETERS = (
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "min_tokens", "temperature", "top_p", "top_k"),
    *("min_p", "seed", "n", "presence_penalty", "frequency_penalty", "repetition_penalty", "ignore_eos", "logprobs"),
    *("parallel_tool_calls", "echo", "use_beam_search", "best_of"),
)
_CREDENTIALS = ("authorization", "x-api-key", "api-key", "cookie")
_MAX_NUMBER = 2**63


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """One request. Holds its prompt's text, and is therefore dropped when the request ends."""

    endpoint: str
    model: str | None = None
    stream: bool = False
    parameters: Mapping[str, bool | int | float] = field(default_factory=dict)
    prompt: Prompt | None = None
    text: str = ""
    """of the prompt"""
    system: str = ""
    owner: str = ""
    """hash of the credentials it was sent with"""
    identical: str | None = None
    blocks: tuple[bytes, ...] = ()
    part_ends: tuple[tuple[int, bytes], ...] = ()
    """where each message ends, with a hash of all up to there"""
    prompt_name: str | None = None
    system_name: str | None = None

    @property
    def choices(self) -> int:
        """How many replies were asked for."""
        given = self.parameters.get("n", 1)
        return given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else 1


def endpoint_of(method: str, path: str) -> str:
    """Return the API that a path belongs to, or `other`. `path` is without query."""
    if method != "POST":
        return "other"
    return next((name for tail, name in _ENDPOINTS.items() if path.rstrip("/").endswith(tail)), "other")


def owner_of(headers: Mapping[str, str], hashes: KeyedHash) -> str:
    """Return a hash of the credentials in a request's headers."""
    return hashes.name(*(headers.get(name, "") for name in _CREDENTIALS))


def parse_body(raw: bytes | None) -> dict[str, Any] | None:
    """Return the JSON object that a body is; None if it is not, or was not kept."""
    try:
        body = orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def request_facts(endpoint: str, body: dict[str, Any] | None, owner: str, hashes: KeyedHash) -> RequestFacts:
    """Return what a body asks for. `body`: None if it could not be read."""
    if endpoint == "other" or body is None:
        return RequestFacts(endpoint, owner=owner)
    prompt = prompt_of(endpoint, body)
    parts, system = prompt.parts, prompt.system
    text = "".join(parts)
    model = body.get("model")
    return RequestFacts(
        endpoint=endpoint,
        model=safe_text(model) if isinstance(model, str) else None,
        stream=body.get("stream") is True,
        parameters={name: body[name] for name in PARAMETERS if _is_plain(body.get(name))},
        prompt=prompt,
        text=text,
        system=system,
        owner=owner,
        identical=identical_name(endpoint, body, owner, hashes),
        blocks=tuple(hashes.blocks(text)),
        part_ends=tuple(zip(accumulate(map(len, parts)), hashes.chain(parts), strict=True)),
        prompt_name=hashes.name("prompt", text),
        system_name=hashes.name("system", system) if system else None,
    )


def identical_name(endpoint: str, body: dict[str, Any], owner: str, hashes: KeyedHash) -> str | None:
    """Return a hash of all that a reply depends on; None of a body that is nested too deeply."""
    try:
        return hashes.name(endpoint, owner, orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    except TypeError:
        return None


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < _MAX_NUMBER
