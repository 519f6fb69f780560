"""What a finish reason means: servers use many words for few endings."""

import re
from enum import Enum


class FinishKind(Enum):
    """How the model, or its server, ended a choice."""

    WHOLE = "whole"
    """a whole answer, or as much of it as was asked for"""
    FILTERED = "filtered"
    """withheld by the server or refused by the model"""
    FAILED = "failed"
    UNKNOWN = "unknown"


_NOT_FINISHED = {"", "null", "none", "nil", "undefined", "not_finished", "unfinished", "in_progress", "queued"}
_NOT_FINISHED |= {
    "unspecified",
    "finish_reason_unspecified",
    "streaming",
    "continue",
    "generating",
    "pending",
    "running",
}
_NOT_FINISHED |= {"processing", "ongoing", "partial", "started", "active", "false", "n/a"}
_WHOLE = {
    *("stop", "stopped", "eos", "eos_token", "eos_token_id", "end_of_sequence", "end_of_text", "end", "end_turn"),
    *("stop_token", "stop_string", "stop_str", "stop_word", "stop_words", "stop_sequence", "stop_criteria", "natural"),
    *("complete", "completed", "finish", "finished", "done", "success", "normal", "pause_turn", "ok"),
    *("length", "max_length", "max_tokens", "max_output_tokens", "max_new_tokens", "max_completion_tokens", "limit"),
    *("max_tokens_reached", "length_limit", "token_limit", "token_limit_reached", "length_capped", "output_length"),
    *("model_length", "context_length", "max_context_length", "model_context_window_exceeded", "context_limit"),
    *("context_length_exceeded", "length_exceeded", "token_limit_exceeded", "max_token", "max_length_exceeded"),
    *("eot", "eos_found", "end_of_turn", "stop_token_id", "stop_id", "max_length_reached"),
    *("tool_calls", "tool_call", "tool_use", "tool", "function_call", "function_calls", "tools", "max_tool_calls"),
}
_FILTERED = {
    *("content_filter", "content_filtered", "filter", "filtered", "refusal", "refused", "safety", "recitation"),
    *("prohibited_content", "blocklist", "blocked", "spii", "image_safety", "sensitive", "guardrail_intervened"),
    *("moderation", "moderated", "content_policy_violation", "policy_violation", "risk", "language", "toxic"),
    *("guardrail", "guardrails"),
}
_WITHHELD = re.compile(
    r"filter|censor|copyright|moderat|guardrail|safety|unsafe|harm|prohibit|dlp|polic|sensitive|abuse"
)
_FAILURE = re.compile(
    r"abort|error|err_|cancel|fail|time_?d?_?out|insufficient|unavailable|overload|interrupt|disconnect|exception|crash"
    r"|malformed|invalid|kill|preempt|evict|terminat|reset|lost|rate_?limit|throttl|quota|busy|shutdown|oom|out_of_mem"
    r"|capacity|expired|broken|dead|died|panic|cache_full|unhealthy|refused_by|too_many|hung|stall|lagg|gone|drain"
)
_ENUM_PREFIX = re.compile(r"^(?:.*\.)?(?:finish_?reason_|stop_?reason_)?")
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")


def finish_reason(value: object) -> str | None:
    """Return the reason as the server gave it; None if the choice has not finished (some send the word "null")."""
    if not isinstance(value, str):
        return None
    return value if value in _WHOLE or _normalized(value) not in _NOT_FINISHED else None


def finish_kind(reason: str) -> FinishKind:
    """Return what a finish reason means, in any spelling."""
    word = reason if reason in _WHOLE else _normalized(reason)
    if word in _WHOLE:
        return FinishKind.WHOLE
    if word in _FILTERED:
        return FinishKind.FILTERED
    if _FAILURE.search(word):
        return FinishKind.FAILED
    return FinishKind.FILTERED if _WITHHELD.search(word) else FinishKind.UNKNOWN


def _normalized(reason: str) -> str:
    snake = re.sub(r"[\s-]+", "_", _CAMEL_CASE.sub("_", reason.strip())).lower()
    return _ENUM_PREFIX.sub("", snake) or snake
