"""Token counts under the names that servers give them."""

from typing import Any

from probe_ext.client.api.api_event import Usage

_PROMPT = (
    *("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "prompt_token_count", "promptTokenCount"),
    *("inputTokenCount", "input_token_count", "prompt_eval_count", "tokens_evaluated"),
)
_COMPLETION = (
    *("completion_tokens", "output_tokens", "completionTokens", "outputTokens", "generated_tokens"),
    *("completion_token_count", "candidatesTokenCount", "candidates_token_count", "outputTokenCount"),
    *("output_token_count", "eval_count", "tokens_predicted"),
)
_TOTAL = ("total_tokens", "totalTokens", "totalTokenCount", "total_token_count")
_CACHED = ("cached_tokens", "cachedTokens", "cache_read_input_tokens", "prompt_cache_hit_tokens")
_REASONING = ("reasoning_tokens", "reasoningTokens", "thinking_tokens", "thoughtsTokenCount", "thoughts_token_count")
_USAGE_NAMES = ("usage", "token_usage", "tokenUsage", "usageMetadata", "usage_metadata", "usage_stats")
_CONTAINERS = ("x_groq", "meta", "metadata", "response_metadata", "data", "amazon-bedrock-invocationMetrics")
"""objects in which gateways put usage, or counts themselves"""
_COUNTS_BESIDE_CHOICES = ("eval_count", "tokens_predicted")


def parse_usage(value: object) -> Usage | None:
    """Return the counts of a `usage` object, None without one.

    Where the completion tokens exclude reasoning, as the total then shows, they are added.
    """
    if not isinstance(value, dict):
        return None
    prompt, completion = _first(value, _PROMPT), _first(value, _COMPLETION)
    cached, reasoning = _detail(value, _PROMPT_DETAILS, _CACHED), _detail(value, _COMPLETION_DETAILS, _REASONING)
    total = _first(value, _TOTAL) if reasoning or completion is None else None
    if total is not None and prompt is not None:
        if completion is None:
            completion = total - prompt if total > prompt else None
        elif reasoning and total == prompt + completion + reasoning:
            completion += reasoning
    return Usage(prompt, completion, cached, reasoning)


MAX_TOKENS = 100_000_000
"""of one reply; the longest contexts hold a tenth of that"""
_MAX_DIGITS = 16
_PLAIN_USAGE = {"prompt_tokens", "completion_tokens", "total_tokens"}
_PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_COMPLETION_DETAILS = ("completion_tokens_details", "output_tokens_details")


def usage_elsewhere(content: dict[str, Any]) -> Usage | None:
    """Return counts outside `usage`: under another name, in an extension, or in llama.cpp's timings."""
    containers = [content, *(value for name in _CONTAINERS if isinstance(value := content.get(name), dict))]
    for container in containers:
        for name in _USAGE_NAMES:
            if (usage := _with_completion(container.get(name))) is not None:
                return usage
        beside_choices = container is content and not any(name in content for name in _COUNTS_BESIDE_CHOICES)
        if not beside_choices and (usage := _with_completion(container)) is not None:
            return usage
    timings = content.get("timings")
    completion = count(timings.get("predicted_n")) if isinstance(timings, dict) else None
    if not isinstance(timings, dict) or completion is None:
        return None
    prompt, cached = count(timings.get("prompt_n")), count(timings.get("cache_n"))
    return Usage(None if prompt is None or cached is None else prompt + cached, completion, cached)


def _with_completion(value: object) -> Usage | None:
    usage = parse_usage(value)
    return usage if usage is not None and usage.completion is not None else None


def count(value: object) -> int | None:
    """Return a token count, None if the value is not one; some servers write it as a string or a float.

    More tokens than any context holds are not believed.
    """
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _MAX_DIGITS) or (
        isinstance(value, float) and value.is_integer()
    ):
        number = int(value)
    return number if number is not None and 0 <= number <= MAX_TOKENS else None


def _first(value: dict[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        if (number := count(value.get(name))) is not None:
            return number
    return None


def _detail(value: dict[str, Any], containers: tuple[str, ...], names: tuple[str, ...]) -> int | None:
    for container in containers:
        details = value.get(container)
        if isinstance(details, dict) and (number := _first(details, names)) is not None:
            return number
    return None if value.keys() == _PLAIN_USAGE else _first(value, names)
