"""What a client asks for: bodies of /v1/chat/completions and /v1/completions, read and checked.

Refusals carry vLLM 0.32's status, type and wording (recorded from a real server).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probe_ext.sim.faults import Fault, FaultError, parse_fault
from probe_ext.sim.tokenizer import EOS, encode, encode_chat

COMPLETION_DEFAULT_TOKENS = 16


class AskError(ValueError):
    """A request that is refused: HTTP status, vLLM's error type, the parameter."""

    def __init__(self, message: str, param: str | None, status: int = 400, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


@dataclass(frozen=True, slots=True)
class Ask:
    """One checked request. Counts are tokens."""

    chat: bool
    prompt: tuple[int, ...]
    max_tokens: int
    min_tokens: int
    ignore_eos: bool
    stream: bool
    include_usage: bool
    continuous_usage: bool
    choices: int
    seed: int | None
    greedy: bool
    fault: Fault | None


def read_ask(body: Mapping[str, Any], chat: bool, model: str, max_model_len: int) -> Ask:
    """Check a body. Raises :class:`AskError`."""
    asked = body.get("model")
    if asked not in (None, model):
        message = f"The model `{asked}` does not exist. Valid aliases: {model}."
        raise AskError(message, "model", 404, "NotFoundError")
    prompt = encode_chat(read_messages(body)) if chat else read_prompt(body)
    options = body.get("stream_options") or {}
    stream = bool(body.get("stream", False))
    if options and not stream:
        raise AskError("Stream options can only be defined when `stream=True`.", "stream_options")
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        given = float(temperature)
        message = f"temperature must be non-negative, got {given}. (parameter=temperature, value={given})"
        raise AskError(message, "temperature")
    return Ask(
        chat=chat,
        prompt=tuple(prompt),
        max_tokens=_max_tokens(body, chat, len(prompt), max_model_len),
        min_tokens=_count(body, "min_tokens", 0, 0),
        ignore_eos=bool(body.get("ignore_eos", False)),
        stream=stream,
        include_usage=bool(options.get("include_usage", False)),
        continuous_usage=bool(options.get("continuous_usage_stats", False)),
        choices=_count(body, "n", 1, 1),
        seed=body.get("seed"),
        greedy=temperature == 0,
        fault=_fault(body),
    )


def read_messages(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(role, text) of a chat body's messages. Raises :class:`AskError`."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise AskError("messages: a list of at least one message is needed", "messages")
    return [(str(message.get("role", "user")), _text(message.get("content"))) for message in messages]


def read_prompt(body: Mapping[str, Any]) -> list[int]:
    """Token numbers of a completion body's one prompt, text or numbers. Raises :class:`AskError`."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return encode(prompt)
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        wrong = next((t for t in prompt if not 0 <= t <= EOS), None)
        if wrong is not None:
            raise AskError(f"Token id {wrong} is out of vocabulary", None)
        return list(prompt)
    raise AskError("prompt: one text or one list of token ids is needed, not empty", "prompt")


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _max_tokens(body: Mapping[str, Any], chat: bool, prompt: int, limit: int) -> int:
    key = "max_completion_tokens" if chat and body.get("max_completion_tokens") is not None else "max_tokens"
    asked = _count(body, key, 0, 1)
    if asked > limit:
        more = f"Please request fewer output tokens. (parameter={key}, value={asked})"
        raise AskError(f"{key}={asked} cannot be greater than max_model_len={limit}. {more}", key)
    head = f"This model's maximum context length is {limit} tokens. However, "
    if prompt >= limit:
        message = (
            f"{head}your prompt contains {prompt} input tokens, which exceeds this limit even without any output "
            f"tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value={prompt})"
        )
        raise AskError(message, "input_tokens")
    if prompt + asked > limit:
        message = (
            f"{head}you requested {asked} output tokens and your prompt contains {prompt} input tokens, for a total "
            f"of {prompt + asked} tokens. Please reduce the length of the input prompt or the number of requested "
            f"output tokens. (parameter=input_tokens, value={prompt})"
        )
        raise AskError(message, "input_tokens")
    return asked or min(limit - prompt, limit if chat else COMPLETION_DEFAULT_TOKENS)


def _count(body: Mapping[str, Any], key: str, default: int, least: int) -> int:
    value = body.get(key)
    if value is None:
        return default
    if type(value) is not int or value < least:
        raise AskError(f"{key} must be an integer of at least {least}, got {value}. (parameter={key})", key)
    return value


def _fault(body: Mapping[str, Any]) -> Fault | None:
    text = body.get("probe_fault")
    if text is None:
        return None
    try:
        return parse_fault(str(text))
    except FaultError as error:
        raise AskError(str(error), "probe_fault") from error
