"""Parse and validate the bodies of /v1/chat/completions, /v1/completions, /v1/responses and /v1/messages.

Errors carry vLLM 0.32's status, type and wording (recorded from a real server).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from probe_ext.sim.faults import Fault, FaultError, parse_fault
from probe_ext.sim.tokenizer import EOS, encode, encode_chat

DEFAULT_COMPLETION_TOKENS = 16


class ApiError(ValueError):
    """A refused request: HTTP status and vLLM's error body."""

    def __init__(self, message: str, param: str | None, status: int = 400, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A valid completion request. ``max_tokens`` and ``min_tokens`` count generated tokens, ``choices`` is ``n``."""

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
    tool: str | None = None
    """The tool that the reply is to call: the named one, or the first that may be called."""
    api: str = "chat"
    """``chat``, ``completion``, ``responses`` or ``messages``; ``chat`` above is true for all but ``completion``"""


def parse_api_request(api: str, body: Mapping[str, Any], model: str, max_model_len: int) -> ApiRequest:
    """Validate a body of any API. Raises :class:`ApiError`."""
    converted = {"responses": _chat_of_responses, "messages": _chat_of_messages}.get(api, dict)(body)
    return replace(parse_request(converted, api != "completion", model, max_model_len), api=api)


def _chat_of_responses(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chat request that a Responses request means."""
    given = body.get("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if body.get("instructions") and isinstance(messages, list):
        messages = [{"role": "system", "content": body["instructions"]}, *messages]
    return {**_without(body, "input"), "messages": messages, "max_tokens": body.get("max_output_tokens")}


def _chat_of_messages(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chat request that a Messages request means."""
    if body.get("max_tokens") is None:
        raise ApiError("max_tokens: Field required", "max_tokens")
    messages = body.get("messages")
    if body.get("system") and isinstance(messages, list):
        messages = [{"role": "system", "content": body["system"]}, *messages]
    return {**_without(body, "system"), "messages": messages}


def _without(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in (*names, "stream_options", "n")}


def parse_request(body: Mapping[str, Any], chat: bool, model: str, max_model_len: int) -> ApiRequest:
    """Validate a body. Raises :class:`ApiError`."""
    requested = body.get("model")
    if requested not in (None, model):
        message = f"The model `{requested}` does not exist. Valid aliases: {model}."
        raise ApiError(message, "model", 404, "NotFoundError")
    prompt = encode_chat(parse_messages(body)) if chat else parse_prompt(body)
    options = body.get("stream_options") or {}
    stream = bool(body.get("stream", False))
    if options and not stream:
        raise ApiError("Stream options can only be defined when `stream=True`.", "stream_options")
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        given = float(temperature)
        message = f"temperature must be non-negative, got {given}. (parameter=temperature, value={given})"
        raise ApiError(message, "temperature")
    return ApiRequest(
        chat=chat,
        prompt=tuple(prompt),
        max_tokens=_max_tokens(body, chat, len(prompt), max_model_len),
        min_tokens=_integer(body, "min_tokens", 0, 0),
        ignore_eos=bool(body.get("ignore_eos", False)),
        stream=stream,
        include_usage=bool(options.get("include_usage", False)),
        continuous_usage=bool(options.get("continuous_usage_stats", False)),
        choices=_integer(body, "n", 1, 1),
        seed=body.get("seed"),
        greedy=temperature == 0,
        fault=_fault(body),
        tool=_tool(body) if chat else None,
    )


def parse_messages(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (role, text) of each chat message. Raises :class:`ApiError`."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise ApiError("messages must be a non-empty list of messages", "messages")
    return [(str(message.get("role", "user")), _text(message.get("content"))) for message in messages]


def parse_prompt(body: Mapping[str, Any]) -> list[int]:
    """Return the token ids of a completion's only prompt, given as text or ids. Raises :class:`ApiError`."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return encode(prompt)
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        unknown = next((token for token in prompt if not 0 <= token <= EOS), None)
        if unknown is not None:
            raise ApiError(f"Token id {unknown} is out of vocabulary", None)
        return list(prompt)
    raise ApiError("prompt must be one non-empty text or one non-empty list of token ids", "prompt")


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _max_tokens(body: Mapping[str, Any], chat: bool, prompt: int, limit: int) -> int:
    key = "max_completion_tokens" if chat and body.get("max_completion_tokens") is not None else "max_tokens"
    requested = _integer(body, key, 0, 1)
    if requested > limit:
        hint = f"Please request fewer output tokens. (parameter={key}, value={requested})"
        raise ApiError(f"{key}={requested} cannot be greater than max_model_len={limit}. {hint}", key)
    context = f"This model's maximum context length is {limit} tokens. However, "
    if prompt >= limit:
        message = (
            f"{context}your prompt contains {prompt} input tokens, which exceeds this limit even without any output "
            f"tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value={prompt})"
        )
        raise ApiError(message, "input_tokens")
    if prompt + requested > limit:
        message = (
            f"{context}you requested {requested} output tokens and your prompt contains {prompt} input tokens, for a "
            f"total of {prompt + requested} tokens. Please reduce the length of the input prompt or the number of "
            f"requested output tokens. (parameter=input_tokens, value={prompt})"
        )
        raise ApiError(message, "input_tokens")
    return requested or min(limit - prompt, limit if chat else DEFAULT_COMPLETION_TOKENS)


def _integer(body: Mapping[str, Any], key: str, default: int, minimum: int) -> int:
    value = body.get(key)
    if value is None:
        return default
    if type(value) is not int or value < minimum:
        raise ApiError(f"{key} must be an integer of at least {minimum}, got {value}. (parameter={key})", key)
    return value


def _tool(body: Mapping[str, Any]) -> str | None:
    choice = body.get("tool_choice")
    tools = body.get("tools")
    offered = tools[:1] if isinstance(tools, list) and choice != "none" else []
    for each in (choice, *offered):
        function = each.get("function") if isinstance(each, dict) else None
        if isinstance(function, dict) and function.get("name"):
            return str(function["name"])
    return None


def _fault(body: Mapping[str, Any]) -> Fault | None:
    text = body.get("probe_fault")
    if text is None:
        return None
    try:
        return parse_fault(str(text))
    except FaultError as error:
        raise ApiError(str(error), "probe_fault") from error
